use super::*;

#[test]
fn an_item_is_worked_on_once_at_a_time_and_again_if_added_meanwhile() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.add(1);
    queue.add(1);
    assert_eq!(queue.take(now), Some(1));
    assert_eq!(queue.take(now), None);
    queue.add(1);
    assert_eq!(queue.take(now), None, "it is being worked on");
    queue.done(&1);
    assert_eq!(queue.take(now), Some(1));
    queue.done(&1);
    assert_eq!(queue.take(now), None);
}

#[test]
fn what_somebody_waits_for_comes_first_and_lets_one_in_four_pass() {
    let now = Instant::now();
    let mut queue = Queue::default();
    (0..3).for_each(|it| queue.add(it));
    (10..15).for_each(|it| queue.add_urgent(it));
    queue.add_urgent(2);
    queue.add(10);
    let taken: Vec<_> = std::iter::from_fn(|| queue.take(now)).collect();
    assert_eq!(taken, [10, 11, 12, 0, 13, 14, 2, 1], "each once");
    assert!(queue.usual.is_empty());
}

#[test]
fn what_becomes_urgent_while_it_is_worked_on_is_urgent_afterwards() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.add(1);
    assert_eq!(queue.take(now), Some(1));
    queue.add_urgent(1);
    queue.add(1);
    queue.add(2);
    queue.done(&1);
    assert_eq!(queue.take(now), Some(1));
    assert_eq!(queue.take(now), Some(2));
}

#[test]
fn a_later_wake_replaces_an_earlier_one() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.wake(1, Some(now));
    queue.wake(1, Some(now + Duration::from_secs(5)));
    assert_eq!(queue.take(now), None);
    assert_eq!(queue.next_due(), Some(now + Duration::from_secs(5)));
    assert_eq!(queue.take(now + Duration::from_secs(5)), Some(1));
    queue.done(&1);
    assert_eq!(queue.next_due(), None, "nothing is left to wake for");
}

#[test]
fn a_retry_waits_longer_each_time_and_never_less_than_asked() {
    let now = Instant::now();
    let mut queue = Queue::default();
    assert_eq!(queue.retry(&1, None, now), FIRST_RETRY);
    assert_eq!(queue.retry(&1, None, now), FIRST_RETRY * 2);
    let asked = Some(Duration::from_secs(9));
    assert_eq!(queue.retry(&1, asked, now), Duration::from_secs(9));
    queue.succeeded(&1);
    assert_eq!(queue.retry(&1, None, now), FIRST_RETRY);
    for _ in 0..20 {
        queue.retry(&1, None, now);
    }
    assert_eq!(queue.retry(&1, None, now), LONGEST_RETRY);
}

#[test]
fn what_failed_is_taken_after_its_pause_and_not_before() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.add(1);
    assert_eq!(queue.take(now), Some(1));
    let pause = queue.retry(&1, None, now);
    queue.done(&1);
    assert_eq!(queue.take(now + pause / 2), None);
    assert_eq!(queue.take(now + pause), Some(1));
}

#[test]
fn what_happens_meanwhile_ends_our_own_pause_but_none_that_was_asked_for() {
    let now = Instant::now();
    let asked = Duration::from_secs(9);
    let mut queue = Queue::default();
    for item in [1, 2] {
        queue.add(item);
        assert_eq!(queue.take(now), Some(item));
    }
    queue.add(2);
    queue.retry(&1, None, now);
    queue.retry(&2, Some(asked), now);
    queue.done(&1);
    queue.done(&2);
    queue.add(1);
    queue.add(2);
    queue.wake(2, None);
    queue.wake(2, Some(now));
    assert_eq!(queue.take(now), Some(1));
    queue.wake(1, None);
    assert_eq!(
        queue.take(now + asked / 2),
        None,
        "it is being asked to wait"
    );
    queue.done(&1);
    assert_eq!(queue.take(now + asked), Some(2));
    queue.done(&2);
    queue.add(2);
    assert_eq!(queue.take(now + asked), Some(2), "the pause is over");
}

#[test]
fn what_is_worked_on_is_as_urgent_as_it_was_taken() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.add(1);
    assert_eq!(queue.take(now), Some(1));
    queue.add_urgent(1);
    assert!(!queue.is_urgent(&1));
    queue.done(&1);
    assert_eq!(queue.take(now), Some(1));
    assert!(queue.is_urgent(&1));
    queue.done(&1);
    assert!(!queue.is_urgent(&1));
}

/// Takes an item that somebody waits for, with another one behind it in the usual lane.
fn urgent_and_usual(now: Instant) -> Queue<u32> {
    let mut queue = Queue::default();
    queue.add_urgent(1);
    assert_eq!(queue.take(now), Some(1));
    queue.add(2);
    queue
}

#[test]
fn what_somebody_waits_for_is_urgent_after_a_failure_as_well() {
    let now = Instant::now();
    let mut queue = urgent_and_usual(now);
    let pause = queue.retry(&1, None, now);
    queue.done(&1);
    assert_eq!(queue.take(now + pause), Some(1));
    queue.wake(1, Some(now + pause));
    queue.done(&1);
    assert_eq!(
        queue.take(now + pause),
        Some(2),
        "a look in time is not urgent"
    );
}

#[test]
fn what_ends_a_pause_before_its_time_leaves_the_item_as_urgent_as_it_was() {
    let now = Instant::now();
    let mut queue = urgent_and_usual(now);
    queue.put_off(1, now + FIRST_RETRY);
    queue.done(&1);
    queue.add(1);
    assert_eq!(queue.take(now), Some(1));
}

#[test]
fn what_becomes_urgent_in_a_pause_that_was_asked_for_is_urgent_after_it() {
    let now = Instant::now();
    let asked = Duration::from_secs(9);
    let mut queue = Queue::default();
    queue.add(1);
    assert_eq!(queue.take(now), Some(1));
    queue.retry(&1, Some(asked), now);
    queue.done(&1);
    queue.add_urgent(1);
    queue.wake(1, Some(now));
    queue.add(2);
    assert_eq!(queue.take(now + asked), Some(1));
    assert_eq!(queue.take(now + asked), Some(2));
}

#[test]
fn the_next_step_of_what_somebody_waits_for_is_urgent_too() {
    let now = Instant::now();
    let mut queue = urgent_and_usual(now);
    queue.add_as_taken(1);
    queue.done(&1);
    assert_eq!(queue.take(now), Some(1));
}

#[test]
fn an_item_that_becomes_urgent_is_as_old_as_before() {
    let mut queue = Queue::default();
    assert_eq!(queue.oldest(Instant::now()), Duration::ZERO);
    queue.add(1);
    let added = Instant::now();
    let pause = Duration::from_millis(20);
    std::thread::sleep(pause);
    queue.add_urgent(1);
    queue.add(2);
    assert_eq!(queue.len(), 2);
    assert!(queue.oldest(added + pause) >= pause);
    let now = Instant::now();
    assert_eq!((queue.take(now), queue.len()), (Some(1), 1));
    assert!(queue.oldest(now) < pause, "the other one came later");
    assert_eq!((queue.take(now), queue.len()), (Some(2), 0));
}

#[test]
fn what_becomes_urgent_twice_is_worked_on_once() {
    let now = Instant::now();
    let mut queue = Queue::default();
    assert!(queue.is_empty());
    queue.add_urgent(1);
    queue.add_urgent(1);
    assert!(!queue.is_empty());
    assert_eq!(queue.take(now), Some(1));
    assert!(queue.is_empty());
    assert_eq!(queue.take(now), None, "it is being worked on");
}

#[test]
fn an_item_that_is_added_again_keeps_no_second_place() {
    let mut queue = Queue::default();
    (0..10).for_each(|_| queue.add(1));
    assert_eq!((queue.len(), queue.usual.len()), (1, 1));
}

#[test]
fn what_a_start_or_a_heal_took_is_given_back_when_nothing_is_left() {
    let now = Instant::now();
    let items = 0..4 * SMALL;
    let capacity = |it: &Queue<usize>| it.usual.capacity() + it.urgent.capacity();
    for add in [Queue::add, Queue::add_urgent] {
        let mut queue = Queue::default();
        items.clone().for_each(|it| add(&mut queue, it));
        for item in items.clone() {
            assert!(capacity(&queue) >= SMALL, "it is still in use");
            assert_eq!(queue.take(now), Some(item));
            queue.done(&item);
        }
        assert_eq!(queue.take(now), None);
        assert_eq!(capacity(&queue), 0);
        assert_eq!(queue.queued.capacity(), 0);
    }
}

#[test]
fn what_is_small_is_kept() {
    let mut queue = Queue::<usize>::default();
    queue.usual.reserve_exact(SMALL);
    assert_eq!(queue.take(Instant::now()), None);
    assert_eq!(queue.usual.capacity(), SMALL);
}
