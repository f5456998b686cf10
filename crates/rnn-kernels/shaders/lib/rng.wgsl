// Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror and Shaw, SC 2011): a draw is a pure function
// of key and counter, the same on every device. Defines: threefry.
// CPU twin: crates/rnn-base/src/rng.rs

fn threefry_round(x: vec2<u32>, rotation: u32) -> vec2<u32> {
    let sum = x.x + x.y;
    return vec2(sum, ((x.y << rotation) | (x.y >> (32u - rotation))) ^ sum);
}

fn threefry_even(x: vec2<u32>) -> vec2<u32> {
    return threefry_round(threefry_round(threefry_round(threefry_round(x, 13u), 15u), 26u), 6u);
}

fn threefry_odd(x: vec2<u32>) -> vec2<u32> {
    return threefry_round(threefry_round(threefry_round(threefry_round(x, 17u), 29u), 16u), 24u);
}

fn threefry(key: vec2<u32>, counter: vec2<u32>) -> vec2<u32> {
    let third = key.x ^ key.y ^ 0x1BD11BDAu;
    var x = counter + key;
    x = threefry_even(x) + vec2(key.y, third + 1u);
    x = threefry_odd(x) + vec2(third, key.x + 2u);
    x = threefry_even(x) + vec2(key.x, key.y + 3u);
    x = threefry_odd(x) + vec2(key.y, third + 4u);
    return threefry_even(x) + vec2(third, key.x + 5u);
}
