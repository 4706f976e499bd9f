//! What the verifier says, and of what.

use crate::geometry::Coord;
use crate::program::Color;
use std::collections::BTreeMap;
use std::fmt;

/// Findings of one kind that are kept; the rest are counted.
const MOST: usize = 200;

/// Where something is; the parts that do not apply are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// A thing of the program that is not part of a class: "input `x`", "route 3".
    pub item: Option<String>,
    /// Name of the class.
    pub class: Option<String>,
    /// Name of the task.
    pub task: Option<String>,
    /// Instruction of the task: counted from 1 as the text form lists them, bodies of loops and conditions included.
    pub instruction: Option<usize>,
    /// The colour.
    pub color: Option<Color>,
    /// The PE, or the first of several.
    pub pe: Option<Coord>,
    /// PEs of which the same is true, beside `pe`.
    pub more_pes: usize,
}

impl Place {
    /// A thing that is not part of a class.
    pub fn item(item: impl Into<String>) -> Self {
        Self { item: Some(item.into()), ..Self::default() }
    }

    /// A class.
    pub fn class(name: &str) -> Self {
        Self { class: Some(name.into()), ..Self::default() }
    }

    /// The same place, at a colour.
    #[must_use]
    pub fn color(self, color: u8) -> Self {
        Self { color: Some(Color(color)), ..self }
    }

    /// The same place, in a task.
    #[must_use]
    pub fn task(self, name: &str) -> Self {
        Self { task: Some(name.into()), ..self }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.item.clone());
        parts.extend(self.class.as_ref().map(|name| format!("class {name}")));
        parts.extend(self.task.as_ref().map(|name| format!("task {name}")));
        parts.extend(self.instruction.map(|n| format!("instruction {n}")));
        parts.extend(self.color.map(|color| format!("colour c{}", color.0)));
        parts.extend(self.pe.map(|at| match self.more_pes {
            0 => format!("PE ({}, {})", at.x, at.y),
            more => format!("PE ({}, {}) and {more} more", at.x, at.y),
        }));
        f.write_str(&if parts.is_empty() { "program".into() } else { parts.join(", ") })
    }
}

/// One thing that is wrong, or may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.place, self.message, self.remedy)
    }
}

/// Everything that the verifier has to say of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The program cannot run as it stands, or stops for certain.
    pub errors: Vec<Finding>,
    /// The program may do something other than what was meant.
    pub warnings: Vec<Finding>,
    /// Findings beyond those that are listed.
    pub omitted: usize,
}

impl Findings {
    /// Whether there is an error.
    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.errors.is_empty() && self.warnings.is_empty()
    }

    pub(super) fn error(&mut self, place: Place, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(true, place, message.into(), remedy.into());
    }

    pub(super) fn warning(&mut self, place: Place, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(false, place, message.into(), remedy.into());
    }

    fn add(&mut self, error: bool, place: Place, message: String, remedy: String) {
        let list = if error { &mut self.errors } else { &mut self.warnings };
        if list.len() < MOST {
            list.push(Finding { place, message, remedy });
        } else {
            self.omitted += 1;
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.errors.iter().map(|finding| format!("error: {finding}"));
        let warnings = self.warnings.iter().map(|finding| format!("warning: {finding}"));
        let omitted = (self.omitted > 0).then(|| format!("and {} more", self.omitted));
        f.write_str(&errors.chain(warnings).chain(omitted).collect::<Vec<_>>().join("\n"))
    }
}

/// The same finding at many PEs, told once: what differs but for the PE is the key.
pub(super) struct Grouped<K>(BTreeMap<K, (Coord, usize)>);

impl<K: Ord> Grouped<K> {
    pub(super) fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub(super) fn add(&mut self, key: K, at: Coord) {
        self.0.entry(key).and_modify(|(_, more)| *more += 1).or_insert((at, 0));
    }

    /// Each key with a place that names its PEs.
    pub(super) fn places(self) -> impl Iterator<Item = (K, Place)> {
        self.0.into_iter().map(|(key, (at, more_pes))| (key, Place { pe: Some(at), more_pes, ..Place::default() }))
    }
}
