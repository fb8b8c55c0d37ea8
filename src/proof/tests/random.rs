//! Whatever happens in whatever order: few probes at a time, never two for one question, none to a
//! registry that is silent, no proof without one; and in the end nothing is left.

use proptest::prelude::*;

use super::*;

const NODES: usize = 4;
const IMAGES: usize = 3;
const WORKSPACES: usize = 12;

#[derive(Clone, Debug)]
enum Move {
    Want(usize, usize, usize),
    Drop(usize),
    Look,
    Show,
    Pull(usize),
    Fail(usize),
    Delete(usize),
    Silence(usize, bool),
    Edit,
    Crash,
    ListAnew,
    LoseLease,
    Wait(i64),
}

fn any_move() -> impl Strategy<Value = Move> {
    let which = 0..20_usize;
    prop_oneof![
        6 => (0..WORKSPACES, 0..NODES, 0..IMAGES).prop_map(|(it, node, image)| Move::Want(it, node, image)),
        2 => (0..WORKSPACES).prop_map(Move::Drop),
        8 => Just(Move::Look),
        6 => Just(Move::Show),
        6 => which.clone().prop_map(Move::Pull),
        2 => which.clone().prop_map(Move::Fail),
        1 => which.prop_map(Move::Delete),
        1 => ((0..IMAGES), any::<bool>()).prop_map(|(it, silent)| Move::Silence(it, silent)),
        1 => Just(Move::Edit),
        1 => Just(Move::Crash),
        1 => Just(Move::ListAnew),
        1 => Just(Move::LoseLease),
        3 => (1..700_i64).prop_map(Move::Wait),
    ]
}

/// Each image has a registry of its own.
fn asked(node: usize, image: usize) -> Question {
    Question {
        node: format!("node-{node}"),
        image: format!("r{image}.example.com/agents/x:v1"),
        credentials: Credentials::None,
    }
}

/// A Workspace; two namespaces have some.
fn key(number: usize) -> Key {
    let namespace = if number.is_multiple_of(2) {
        "even"
    } else {
        "odd"
    };
    Key::new(namespace, &format!("w{number}"))
}

struct Run {
    world: World,
    wants: BTreeMap<usize, Question>,
}

impl Run {
    fn again(&mut self) {
        for (number, question) in &self.wants {
            self.world.want(&key(*number), question);
        }
    }

    fn take(&mut self, it: Move) {
        let world = &mut self.world;
        let nth = |number: usize| {
            let count = world.pods.len().max(1);
            world.pods.keys().nth(number % count).cloned()
        };
        match it {
            Move::Want(number, node, image) => {
                let question = asked(node, image);
                world.want(&key(number), &question);
                self.wants.insert(number, question);
            }
            Move::Drop(number) => {
                world.drop(&key(number));
                self.wants.remove(&number);
            }
            Move::Look => drop(self.look()),
            Move::Show => world.deliver(),
            Move::Pull(number) => {
                if let Some(key) = nth(number).filter(|it| world.pods[it].answer.is_none()) {
                    world.answer(&key, Answer::Pulled(None));
                }
            }
            Move::Fail(number) => {
                let cause = crate::pull::cause("ErrImagePull", "403 Forbidden").expect("a cause");
                if let Some(key) = nth(number).filter(|it| world.pods[it].answer.is_none()) {
                    world.answer(&key, Answer::Failed(cause));
                }
            }
            Move::Delete(number) => {
                if let Some(key) = nth(number) {
                    world.remove(&key);
                }
            }
            Move::Silence(image, true) => {
                let silent = Sign::Silent("does not answer in time".into());
                world.signs.insert(format!("r{image}.example.com"), silent);
            }
            Move::Silence(image, false) => {
                world.signs.remove(&format!("r{image}.example.com"));
            }
            Move::Edit => world.proofs.retry_now(),
            Move::Crash => {
                world.restart();
                self.again();
            }
            Move::ListAnew => world.relist(),
            Move::LoseLease => {
                world.proofs.forget();
                self.again();
            }
            Move::Wait(seconds) => {
                // No watch is ever that late.
                world.deliver();
                world.now += SignedDuration::from_secs(seconds);
            }
        }
    }

    fn look(&mut self) -> usize {
        let before = self.world.steps.len();
        let count = self.world.pass();
        for step in &self.world.steps[before..] {
            if let Step::Create { question, .. } = step {
                let registry = question.image.split('/').next().unwrap_or_default();
                let answered = self.world.answered.get(registry);
                let fresh = answered.map(|at| self.world.now.duration_since(*at).as_secs());
                let had = self.world.had.get(question);
                let had = had.map(|at| self.world.now.duration_since(*at).as_secs());
                assert!(
                    fresh.is_some_and(|it| it < 10) || had.is_some_and(|it| it < 600),
                    "{registry} was not heard of"
                );
            }
        }
        count
    }

    fn check(&self) {
        let world = &self.world;
        let (mut on_nodes, mut questions) = (BTreeMap::<_, usize>::new(), BTreeSet::new());
        let mut in_time = 0;
        for (key, probe) in &world.pods {
            if probe.answer.is_none() {
                *on_nodes.entry(&probe.question.node).or_default() += 1;
                let age = world.now.duration_since(probe.created).as_secs();
                in_time += usize::from(age < 180);
            }
            assert!(questions.insert(&probe.question), "{key} is the second one");
        }
        assert!(on_nodes.values().all(|it| *it <= 2), "{on_nodes:?}");
        assert!(in_time <= 16, "{on_nodes:?}");
        if !world.events.is_empty() {
            return;
        }
        for question in self.wants.values() {
            if world.proof(question) == Proof::Proved {
                let mut pods = world.pods.values().filter(|it| it.question == *question);
                let pulled = pods.find_map(|it| it.pulled).expect("a proof has a probe");
                let age = world.now.duration_since(pulled).as_secs();
                assert!(age < 600, "a proof of {age} s ago");
            }
        }
    }

    /// Faults stop: it converges, and is silent until the proofs are to be renewed.
    fn converge(&mut self) {
        self.world.signs.clear();
        self.world.proofs.retry_now();
        // What failed late keeps its node from its registry for ten minutes.
        for _ in 0..700 {
            self.world.pass_time(1);
            self.world.pull();
        }
        let wanted: BTreeSet<_> = self.wants.values().collect();
        for question in &wanted {
            assert_eq!(self.world.proof(question), Proof::Proved, "{question:?}");
        }
        let steps = self.world.steps.len();
        self.world.settle();
        assert_eq!(
            self.world.steps.len(),
            steps,
            "planning again changes nothing"
        );
        assert_eq!(self.world.pods.len(), wanted.len());
    }

    fn end(&mut self) {
        for number in 0..WORKSPACES {
            self.world.drop(&key(number));
        }
        self.wants.clear();
        self.world.pass_time(60);
        assert!(self.world.pods.is_empty(), "{:?}", self.world.pods);
        assert_eq!(self.world.wake, None);
        assert!(self.world.proofs.is_idle());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens(moves in prop::collection::vec(any_move(), 1..150)) {
        let mut run = Run { world: World::new(), wants: BTreeMap::new() };
        for it in moves {
            run.take(it);
            run.check();
        }
        run.converge();
        run.end();
    }

    /// Where nothing fails there are as many probes as questions.
    #[test]
    fn as_many_probes_as_questions(
        wants in prop::collection::vec((0..30_usize, 0..20_usize, 0..4_usize), 1..60),
    ) {
        let mut run = Run { world: World::new(), wants: BTreeMap::new() };
        for (number, node, image) in wants {
            run.take(Move::Want(number, node, image));
        }
        let wanted: BTreeSet<_> = run.wants.values().cloned().collect();
        while run.look() > 0 || !run.world.on_their_way().is_empty() {
            run.world.deliver();
            run.check();
            run.world.pull();
        }
        prop_assert_eq!(run.world.created().len(), wanted.len());
    }
}
