//! What is described once, under its name, in the order in which it is met.

/// Things with their names.
pub struct Names<T: 'static>(Vec<(&'static str, &'static T)>);

impl<T> Names<T> {
    pub fn new() -> Names<T> {
        Names(Vec::new())
    }

    /// Whether it is new.
    pub fn add(&mut self, name: &'static str, thing: &'static T) -> bool {
        let new = self.0.iter().all(|(known, _)| *known != name);
        if new {
            self.0.push((name, thing));
        }
        new
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static T)> + '_ {
        self.0.iter().copied()
    }
}
