//! Patterns with wildcards, level by level: a topic meets only what may select it, however many there are.

use std::collections::HashMap;

use crate::types::topic::{Part, Pattern, is_unspoken};

/// No node; the root is nobody's child.
const NONE: u32 = 0;
const ROOT: u32 = 0;

/// See the file's text. What it holds are the subscribers' slots.
pub struct Trie {
    nodes: Vec<Node>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Node {
    levels: HashMap<Box<str>, u32>,
    /// Below `*`.
    one: u32,
    /// Whose pattern ends here.
    here: Vec<u32>,
    /// Who wants at least one level more.
    some: Vec<u32>,
    /// Who wants whatever comes.
    any: Vec<u32>,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.levels.is_empty() && self.one == NONE && [&self.here, &self.some, &self.any].iter().all(|l| l.is_empty())
    }
}

impl Default for Trie {
    fn default() -> Trie {
        Trie { nodes: vec![Node::default()], free: Vec::new() }
    }
}

impl Trie {
    pub fn insert(&mut self, pattern: &Pattern, slot: u32) {
        let mut at = ROOT;
        for part in pattern.parts() {
            at = match part {
                Part::Level(level) => self.level(at, level),
                Part::One => self.one(at),
                Part::Some => return self.nodes[at as usize].some.push(slot),
                Part::Any => return self.nodes[at as usize].any.push(slot),
            };
        }
        self.nodes[at as usize].here.push(slot);
    }

    /// Takes one entry out, and with it the nodes nobody needs any more.
    pub fn remove(&mut self, pattern: &Pattern, slot: u32) {
        let mut path = vec![(ROOT, None)];
        let mut at = ROOT;
        let mut end = None;
        for part in pattern.parts() {
            let node = &self.nodes[at as usize];
            let next = match part {
                Part::Level(level) => node.levels.get(level).copied().unwrap_or(NONE),
                Part::One => node.one,
                Part::Some | Part::Any => {
                    end = Some(part);
                    break;
                }
            };
            if next == NONE {
                return;
            }
            at = next;
            path.push((at, Some(part)));
        }
        let node = &mut self.nodes[at as usize];
        let list = match end {
            Some(Part::Some) => &mut node.some,
            Some(_) => &mut node.any,
            None => &mut node.here,
        };
        if let Some(place) = list.iter().position(|entry| *entry == slot) {
            list.remove(place);
        }
        while let Some((node, Some(part))) = path.pop() {
            if !self.nodes[node as usize].is_empty() {
                break;
            }
            let Some((parent, _)) = path.last() else { break };
            let parent = &mut self.nodes[*parent as usize];
            match part {
                Part::Level(level) => drop(parent.levels.remove(level)),
                _ => parent.one = NONE,
            }
            self.nodes[node as usize] = Node::default();
            self.free.push(node);
        }
    }

    /// Visits the slot of every pattern that selects `topic`; one with several such patterns several times.
    pub fn visit(&self, topic: &str, mut visit: impl FnMut(u32)) {
        let (level, rest) = split(topic);
        let root = &self.nodes[ROOT as usize];
        if !is_unspoken(topic) {
            return self.walk(ROOT, Some(topic), &mut visit);
        }
        // Its first level has to be named.
        if let Some(next) = root.levels.get(level) {
            self.walk(*next, rest, &mut visit);
        }
    }

    /// As deep as the deepest pattern, which has few levels.
    fn walk(&self, at: u32, left: Option<&str>, visit: &mut impl FnMut(u32)) {
        let node = &self.nodes[at as usize];
        node.any.iter().for_each(|slot| visit(*slot));
        let Some(left) = left else { return node.here.iter().for_each(|slot| visit(*slot)) };
        node.some.iter().for_each(|slot| visit(*slot));
        if node.one == NONE && node.levels.is_empty() {
            return;
        }
        let (level, rest) = split(left);
        if node.one != NONE {
            self.walk(node.one, rest, visit);
        }
        if let Some(next) = node.levels.get(level) {
            self.walk(*next, rest, visit);
        }
    }

    /// Whether no pattern has left anything behind.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.nodes.iter().all(Node::is_empty)
    }

    fn level(&mut self, at: u32, level: &str) -> u32 {
        if let Some(next) = self.nodes[at as usize].levels.get(level) {
            return *next;
        }
        let next = self.node();
        self.nodes[at as usize].levels.insert(level.into(), next);
        next
    }

    fn one(&mut self, at: u32) -> u32 {
        if self.nodes[at as usize].one == NONE {
            let next = self.node();
            self.nodes[at as usize].one = next;
        }
        self.nodes[at as usize].one
    }

    fn node(&mut self) -> u32 {
        if let Some(node) = self.free.pop() {
            return node;
        }
        self.nodes.push(Node::default());
        (self.nodes.len() - 1) as u32
    }
}

fn split(topic: &str) -> (&str, Option<&str>) {
    match topic.split_once('.') {
        Some((level, rest)) => (level, Some(rest)),
        None => (topic, None),
    }
}
