//! How many requests may be under way at once: as many as was set, and fewer while the API server
//! asks for pauses. Without that, all that it refused at once would come back at once.

/// A limit that gives way: halved when the server asks for a pause, one more for each time that it
/// is filled with successes.
#[derive(Debug)]
pub struct Window {
    most: usize,
    size: usize,
    /// The successes since the size last changed.
    successes: usize,
}

impl Window {
    /// As many as this.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            size: most,
            successes: 0,
        }
    }

    /// How many may be under way now.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The server did what it was asked.
    pub fn succeeded(&mut self) {
        self.successes += 1;
        if self.successes >= self.size {
            self.resize((self.size + 1).min(self.most));
        }
    }

    /// The server asked for a pause.
    pub fn refused(&mut self) {
        self.resize((self.size / 2).max(1));
    }

    fn resize(&mut self, size: usize) {
        self.size = size;
        self.successes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_way_at_once_and_opens_again_step_by_step() {
        let mut window = Window::new(32);
        (0..100).for_each(|_| window.succeeded());
        assert_eq!(window.size(), 32);
        window.refused();
        assert_eq!(window.size(), 16);
        (0..9).for_each(|_| window.refused());
        assert_eq!(window.size(), 1, "never less");
        let mut sizes = Vec::new();
        for _ in 0..6 {
            window.succeeded();
            sizes.push(window.size());
        }
        assert_eq!(sizes, [2, 2, 3, 3, 3, 4]);
        (0..600).for_each(|_| window.succeeded());
        assert_eq!(window.size(), 32);
    }
}
