use super::*;
use crate::session::tests::stage_with;
use std::time::Duration;

/// A session that is used while others are being closed stays.
#[tokio::test]
async fn sessions_that_are_used_again_do_not_expire() {
    let idle = Duration::from_millis(500);
    let (stage, _) = stage_with("expire", |options| options.idle_seconds = idle).await;
    let folder = stage.options.sessions.clone();
    let store = Store::open(&folder, 0, 4).unwrap();
    let sessions = Sessions::restore(stage, store).await.unwrap();
    let (a, b) = (sessions.open(Some(1)).await.unwrap(), sessions.open(Some(2)).await.unwrap());
    assert_eq!(sessions.save().await, 0);
    assert!(sessions.unused().is_empty());
    tokio::time::sleep(idle).await;
    assert_eq!(sessions.unused().len(), 2);
    sessions.find(&a.name).unwrap();
    assert!(sessions.take_unused(&a.name).is_none());
    let turn = b.turn.clone().try_acquire_owned().unwrap();
    assert!(sessions.take_unused(&b.name).is_none(), "it generates");
    drop(turn);
    sessions.expire().await;
    assert!(sessions.find(&a.name).is_ok() && sessions.find(&b.name).is_err());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    std::fs::remove_dir_all(folder).unwrap();
}

/// Sessions that cannot be written are counted, and are written by the next save.
#[tokio::test]
async fn what_was_not_saved_is_saved_the_next_time() {
    let (stage, _) = stage_with("unsaved", |_| {}).await;
    let folder = stage.options.sessions.clone();
    let store = Store::open(&folder, 0, 4).unwrap();
    let sessions = Sessions::restore(stage, store).await.unwrap();
    let names = [sessions.open(Some(1)).await.unwrap(), sessions.open(Some(2)).await.unwrap()];
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(sessions.save().await, 2);
    std::fs::create_dir_all(&folder).unwrap();
    assert_eq!(sessions.save().await, 0);
    assert!(names.iter().all(|session| folder.join(format!("{}.session", session.name)).exists()));
    std::fs::remove_dir_all(folder).unwrap();
}
