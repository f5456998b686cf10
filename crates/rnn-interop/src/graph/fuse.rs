//! Equal recurrent nodes, of which each reads nothing but the steps of the one before it, become one stack. Other systems write
//! one node for each layer.

mod stack;

use super::op::{Node, Op, Slot};
use super::parts::ModelParts;
use super::recurrent::Recurrent;
use crate::value::Value;
use rnn_api::{Device, Result, StackSpec};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Fuses what can be fused. Results, values of parameters and what is trained stay the same; a parameter of the second node
/// is one of layer 1 of the first.
///
/// # Errors
/// A failing device.
pub(super) fn fuse(parts: &mut ModelParts, device: &Device) -> Result<()> {
    let chains = Links::of(parts).chains();
    let mut nodes: Vec<Option<Node>> = std::mem::take(&mut parts.nodes).into_iter().map(Some).collect();
    let mut placed: HashMap<usize, Vec<Node>> = HashMap::new();
    let mut failed = None;
    for chain in chains {
        let members: Vec<&Node> = chain.members.iter().filter_map(|&n| nodes[n].as_ref()).collect();
        match stack::stack(&members, device) {
            Ok(Some(stack)) => {
                let whole = chain.joined.map(|n| nodes[n?].as_ref()?.output(0));
                let new = stack::replacement(parts, &members, stack, chain.given, whole);
                let gone = chain.members.iter().chain(&chain.between).chain(chain.joined.iter().flatten());
                gone.for_each(|&n| nodes[n] = None);
                placed.insert(chain.place, new);
            }
            Ok(None) => {}
            Err(error) => failed = Some(error),
        }
    }
    for (n, node) in nodes.into_iter().enumerate() {
        parts.nodes.extend(placed.remove(&n).into_iter().flatten());
        parts.nodes.extend(node);
    }
    failed.map_or(Ok(()), Err)
}

/// Nodes that become one.
struct Chain {
    members: Vec<usize>,
    /// The nodes that only rearrange the steps from one member to the next.
    between: Vec<usize>,
    /// The node in whose place the stack runs.
    place: usize,
    /// The nodes that only join the last states of all members, h and c.
    joined: [Option<usize>; 2],
    /// The values of which the initial states of all members are the parts in order, h and c.
    given: [Option<Slot>; 2],
}

impl Chain {
    fn new(node: usize) -> Self {
        Chain { members: vec![node], between: Vec::new(), place: node, joined: [None; 2], given: [None; 2] }
    }
}

/// Who reads what.
struct Links<'a> {
    parts: &'a ModelParts,
    makers: HashMap<Slot, usize>,
    /// The nodes that read a slot; an output of the model counts as one behind all nodes.
    readers: HashMap<Slot, Vec<usize>>,
    /// How many nodes have a layer.
    uses: HashMap<*const Recurrent, usize>,
}

impl<'a> Links<'a> {
    fn of(parts: &'a ModelParts) -> Self {
        let (mut makers, mut readers, mut uses) = (HashMap::new(), HashMap::new(), HashMap::new());
        for (n, node) in parts.nodes.iter().enumerate() {
            makers.extend(node.outputs.iter().flatten().map(|&slot| (slot, n)));
            node.each_read(&mut |slot| readers.entry(slot).or_insert_with(Vec::new).push(n));
            if let Some(layer) = node.layer() {
                *uses.entry(Arc::as_ptr(layer)).or_insert(0) += 1;
            }
        }
        for port in &parts.outputs {
            readers.entry(port.slot).or_default().push(parts.nodes.len());
        }
        Links { parts, makers, readers, uses }
    }

    fn chains(&self) -> Vec<Chain> {
        // The node after each, and what is between them.
        let links: HashMap<usize, (usize, Vec<usize>)> = (0..self.parts.nodes.len())
            .filter_map(|b| self.link(b).map(|(a, between)| (a, (b, between))))
            .collect();
        let inner: HashSet<usize> = links.values().map(|(b, _)| *b).collect();
        let mut starts: Vec<usize> = links.keys().copied().filter(|a| !inner.contains(a)).collect();
        starts.sort_unstable();
        let mut chains = Vec::new();
        for start in starts {
            let mut chain = Chain::new(start);
            let mut last = start;
            while let Some((next, between)) = links.get(&last) {
                let members = [&chain.members[..], &[*next]].concat();
                match self.place(&members) {
                    Some(place) => {
                        chain.between.extend(between);
                        chain = Chain { members, place, ..chain };
                    }
                    // The stack so far ends; another may begin.
                    None => {
                        chains.push(std::mem::replace(&mut chain, Chain::new(*next)));
                    }
                }
                last = *next;
            }
            chains.push(chain);
        }
        chains.retain(|chain| chain.members.len() > 1);
        for chain in &mut chains {
            chain.joined = [1, 2].map(|n| self.joined(&chain.members, n));
            for (state, n) in chain.given.iter_mut().zip([2, 3]) {
                if let Some((slot, slices)) = self.given(&chain.members, n) {
                    *state = Some(slot);
                    chain.between.extend(slices);
                }
            }
        }
        chains
    }

    /// The node that joins output `n` of all of these nodes in their order, if nothing else reads them.
    fn joined(&self, members: &[usize], n: usize) -> Option<usize> {
        let nodes = members.iter().map(|&member| &self.parts.nodes[member]);
        let states: Vec<Option<Slot>> = nodes.map(|node| node.output(n)).collect();
        let [reader] = self.readers.get(&(*states.first()?)?)?[..] else { return None };
        let node = self.parts.nodes.get(reader)?;
        let axis = i64::from(self.parts.nodes[members[0]].layer()?.batch_first);
        let joins = matches!(node.op, Op::Concat { axis: own } if own == axis || own == axis - 3);
        let alone =
            states.iter().all(|slot| slot.and_then(|slot| self.readers.get(&slot)) == Some(&vec![reader]));
        (joins && alone && node.inputs == states).then_some(reader)
    }

    /// The value of which input `n` of these nodes are the parts in their order, and the nodes that take it apart.
    fn given(&self, members: &[usize], n: usize) -> Option<(Slot, Vec<usize>)> {
        let layer = self.parts.nodes[*members.first()?].layer()?;
        let (axis, rows) = (i64::from(layer.batch_first), layer.passes[0].spec().num_directions() as i64);
        let mut whole = None;
        let mut slices = Vec::new();
        for (k, &member) in (0..).zip(members) {
            let maker = self.only(self.parts.nodes[member].input(n)?, member)?;
            let node = &self.parts.nodes[maker];
            let Op::Slice(slice) = &node.op else { return None };
            let list = |n: usize, own: &'a Option<Vec<i64>>| self.integers(node, n).or(own.as_deref());
            let part = [list(1, &slice.starts), list(2, &slice.ends), list(3, &slice.axes)];
            let expected = [k * rows, (k + 1) * rows, axis];
            let fits = part.iter().zip(expected).all(|(list, value)| *list == Some(&[value]));
            let steps = node.input(4).is_none() || self.integers(node, 4) == Some(&[1]);
            let source = node.input(0)?;
            if !fits || !steps || *whole.get_or_insert(source) != source {
                return None;
            }
            slices.push(maker);
        }
        Some((whole?, slices))
    }

    /// The node before node `b` in a stack.
    fn link(&self, b: usize) -> Option<(usize, Vec<usize>)> {
        let second = &self.parts.nodes[b];
        let below = second.layer()?;
        let (a, between) = self.source(second.input(0)?, b, below.batch_first)?;
        let first = &self.parts.nodes[a];
        let above = first.layer()?;
        let ([one], [two]) = (&above.passes[..], &below.passes[..]) else { return None };
        let alone = |layer: &Arc<Recurrent>| self.uses.get(&Arc::as_ptr(layer)) == Some(&1);
        let spec = StackSpec { input_size: two.spec().input_size, ..*one.spec() };
        let equal = spec == *two.spec()
            && spec.input_size == one.spec().output_size()
            && std::mem::discriminant(one) == std::mem::discriminant(two)
            && above.batch_first == below.batch_first
            && first.input(1) == second.input(1)
            && first.input(2).is_some() == second.input(2).is_some()
            && first.input(3).is_some() == second.input(3).is_some();
        (equal && alone(above) && alone(below)).then_some((a, between))
    }

    /// The recurrent node whose steps `[T, D, B, H]`, or `[B, T, D, H]`, are `[T, B, D*H]` in a slot that node `reader` alone
    /// reads, and the nodes between.
    fn source(&self, slot: Slot, reader: usize, batch_first: bool) -> Option<(usize, Vec<usize>)> {
        let n = self.only(slot, reader)?;
        let node = &self.parts.nodes[n];
        let directions =
            |a: usize| self.parts.nodes[a].layer().map(|layer| layer.passes[0].spec().num_directions());
        let axis = if batch_first { 2 } else { 1 };
        match &node.op {
            Op::Identity => {
                let (a, between) = self.source(node.input(0)?, n, batch_first)?;
                Some((a, [&between[..], &[n]].concat()))
            }
            Op::Squeeze { axes } => {
                let a = self.steps_of(node.input(0)?, &[n])?;
                let axes = self.integers(node, 1).or(axes.as_deref())?;
                let one = directions(a) == Some(1) && (axes == [axis] || axes == [axis - 4]);
                one.then(|| (a, vec![n]))
            }
            Op::Reshape { allow_zero: false } => {
                let turn = if batch_first { None } else { Some(self.only(node.input(0)?, n)?) };
                let a = match turn {
                    None => self.steps_of(node.input(0)?, &[n])?,
                    Some(turn) => {
                        let Op::Transpose { perm: Some(perm) } = &self.parts.nodes[turn].op else {
                            return None;
                        };
                        let turns = *perm == [0, 2, 1, 3];
                        self.steps_of(self.parts.nodes[turn].input(0)?, &[turn]).filter(|_| turns)?
                    }
                };
                let size = self.parts.nodes[a].layer()?.passes[0].spec().output_size() as i64;
                let sizes = self.integers(node, 1)?;
                let joins = sizes == [0, 0, -1] || sizes == [0, 0, size];
                joins.then(|| (a, turn.into_iter().chain([n]).collect()))
            }
            // Each direction for itself, and both side by side.
            Op::Concat { axis: -1 | 2 } => {
                let [Some(ahead), Some(back)] = node.inputs[..] else { return None };
                let ways = [self.only(ahead, n)?, self.only(back, n)?];
                let is_way = |d: i64| {
                    let way = &self.parts.nodes[ways[d as usize]];
                    matches!(way.op, Op::Gather { axis: own } if own == axis)
                        && self.scalar(way.input(1)) == Some(d)
                };
                let y = self.parts.nodes[ways[0]].input(0)?;
                let a = self.steps_of(y, &ways)?;
                let both = self.parts.nodes[ways[1]].input(0) == Some(y) && directions(a) == Some(2);
                (both && is_way(0) && is_way(1)).then(|| (a, vec![ways[0], ways[1], n]))
            }
            _ => None,
        }
    }

    /// The maker of a slot that node `reader` alone reads.
    fn only(&self, slot: Slot, reader: usize) -> Option<usize> {
        let alone = self.readers.get(&slot).is_some_and(|readers| *readers == [reader]);
        self.makers.get(&slot).copied().filter(|_| alone)
    }

    /// The recurrent node whose steps are this slot, if only these nodes read them.
    fn steps_of(&self, slot: Slot, readers: &[usize]) -> Option<usize> {
        let n = *self.makers.get(&slot)?;
        let node = &self.parts.nodes[n];
        let own = node.layer().is_some_and(|layer| layer.passes.len() == 1);
        let steps = own && node.outputs.first() == Some(&Some(slot));
        let mut all = self.readers.get(&slot)?.clone();
        all.sort_unstable();
        let mut readers = readers.to_vec();
        readers.sort_unstable();
        (steps && all == readers).then_some(n)
    }

    fn integers(&self, node: &Node, n: usize) -> Option<&[i64]> {
        match self.parts.constant(node.input(n)?) {
            Some(Value::Int(host)) => Some(&host.values),
            _ => None,
        }
    }

    fn scalar(&self, slot: Option<Slot>) -> Option<i64> {
        match self.parts.constant(slot?) {
            Some(Value::Int(host)) if host.dims.is_empty() => host.values.first().copied(),
            _ => None,
        }
    }

    /// Where the stack can run: in place of its first node if what it reads is there by then, else in place of its last node
    /// if nothing before that reads its states.
    fn place(&self, members: &[usize]) -> Option<usize> {
        let (first, last) = (*members.first()?, *members.last()?);
        let nodes = || members.iter().map(|&n| &self.parts.nodes[n]);
        let states = |n: usize| match self.given(members, n) {
            Some((whole, _)) => vec![whole],
            None => nodes().filter_map(|node| node.input(n)).collect(),
        };
        let lengths = nodes().next().and_then(|node| node.input(1));
        let mut read = states(2).into_iter().chain(states(3)).chain(lengths);
        if read.all(|slot| self.makers.get(&slot).is_none_or(|&maker| maker < first)) {
            return Some(first);
        }
        let mut made = nodes().flat_map(|node| node.outputs.iter().skip(1).flatten());
        let later =
            |slot: &Slot| self.readers.get(slot).is_none_or(|readers| readers.iter().all(|&n| n > last));
        made.all(later).then_some(last)
    }
}

#[cfg(all(test, any(feature = "dl4j", feature = "keras")))]
mod tests;
