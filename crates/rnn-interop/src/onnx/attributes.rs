//! The attributes of a node.

use super::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};
use std::cell::RefCell;

/// Attributes by name. It notes which were read.
pub(super) struct Attributes<'a> {
    all: &'a [AttributeProto],
    read: RefCell<Vec<&'a str>>,
}

impl<'a> Attributes<'a> {
    pub(super) fn of(node: &'a NodeProto) -> Self {
        Attributes { all: &node.attribute, read: RefCell::default() }
    }

    fn find(&self, name: &str) -> Option<&'a AttributeProto> {
        let found = self.all.iter().find(|attribute| attribute.name == name)?;
        self.read.borrow_mut().push(&found.name);
        Some(found)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.find(name).map_or(default, |attribute| attribute.i)
    }

    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        self.int(name, default.into()) != 0
    }

    pub(super) fn maybe_int(&self, name: &str) -> Option<i64> {
        self.find(name).map(|attribute| attribute.i)
    }

    pub(super) fn maybe_float(&self, name: &str) -> Option<f32> {
        self.find(name).map(|attribute| attribute.f)
    }

    pub(super) fn float(&self, name: &str, default: f32) -> f32 {
        self.maybe_float(name).unwrap_or(default)
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.find(name).map(|attribute| String::from_utf8_lossy(&attribute.s).into_owned())
    }

    pub(super) fn texts(&self, name: &str) -> Option<Vec<String>> {
        let texts = &self.find(name)?.strings;
        Some(texts.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect())
    }

    pub(super) fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.find(name).map(|attribute| attribute.ints.clone())
    }

    pub(super) fn floats(&self, name: &str) -> Option<Vec<f32>> {
        self.find(name).map(|attribute| attribute.floats.clone())
    }

    pub(super) fn tensor(&self, name: &str) -> Option<&'a TensorProto> {
        self.find(name)?.t.as_ref()
    }

    pub(super) fn graph(&self, name: &str) -> Option<&'a GraphProto> {
        self.find(name)?.g.as_ref()
    }

    /// Marks attributes as read that change nothing here.
    pub(super) fn ignore(&self, names: &[&str]) {
        for name in names {
            self.find(name);
        }
    }

    /// Attributes that no reader has asked for are not supported.
    pub(super) fn expect_all_read(&self) -> Result<(), String> {
        let read = self.read.borrow();
        let unread =
            self.all.iter().map(|attribute| attribute.name.as_str()).filter(|name| !read.contains(name));
        let names: Vec<_> = unread.map(|name| format!("`{name}`")).collect();
        match names.is_empty() {
            true => Ok(()),
            false => Err(format!("attribute {} is not supported", names.join(", "))),
        }
    }
}
