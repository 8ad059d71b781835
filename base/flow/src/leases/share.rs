//! Who should have what: fair shares, moved as little as possible. Pure.

use crate::storage::leases::{Lease, Subject};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What this node should do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Moves {
    pub take: Vec<Lease>,
    pub give: Vec<Lease>,
}

/// Compares what is with fair shares among `living` (in order; with `me`). What one of `holding` has is not free: the living,
/// and those that are leaving but still work. Within a group everybody has the same number of
/// partitions, give or take one. Who has more gives back, who has fewer takes what is free. Nothing is taken from
/// a living node: it gives.
pub(super) fn moves(me: Uuid, living: &[Uuid], holding: &[Uuid], leases: &[Lease]) -> Moves {
    let mut all = Moves::default();
    let mut groups: BTreeMap<&str, Vec<&Lease>> = BTreeMap::new();
    for lease in leases {
        let name = match &lease.subject {
            Subject::Partition { grp, .. } => grp.as_str(),
            Subject::Work(name) => name.as_str(),
        };
        groups.entry(name).or_default().push(lease);
    }
    for (name, leases) in groups {
        let quota = quota(me, living, name, leases.len());
        let mine: Vec<&&Lease> = leases.iter().filter(|l| l.owner == Some(me)).collect();
        if mine.len() > quota {
            all.give.extend(mine[quota..].iter().map(|l| (**l).clone()));
        } else {
            let free = leases.iter().filter(|l| l.owner.is_none_or(|owner| !holding.contains(&owner)));
            all.take.extend(free.take(quota - mine.len()).map(|l| (*l).clone()));
        }
    }
    // A whole service waits for its relay.
    all.take.sort_by_key(|lease| !matches!(lease.subject, Subject::Work(_)));
    all
}

/// How many of a group's `count` leases this node should have. Whom the remainder goes to differs from group to group, so
/// that groups of one partition do not all end at one node.
fn quota(me: Uuid, living: &[Uuid], group: &str, count: usize) -> usize {
    let Some(rank) = living.iter().position(|id| *id == me) else { return 0 };
    let turn = group.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    let rank = (rank + turn % living.len()) % living.len();
    count / living.len() + usize::from(rank < count % living.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(n: u8) -> Vec<Uuid> {
        (1..=u128::from(n)).map(Uuid::from_u128).collect()
    }

    fn leases(owners: &[Option<u8>]) -> Vec<Lease> {
        let lease = |(i, owner): (usize, &Option<u8>)| Lease {
            subject: Subject::Partition {
                grp: "shop".to_owned(),
                topic: "t".to_owned(),
                partition: u32::try_from(i).expect("few"),
            },
            owner: owner.map(|n| Uuid::from_u128(u128::from(n))),
            epoch: 1,
        };
        owners.iter().enumerate().map(lease).collect()
    }

    /// Lets every living node move in turn until nobody wants to.
    fn settle(living: &[Uuid], leases: &mut [Lease]) -> usize {
        let mut moved = 0;
        for _ in 0..50 {
            let before = moved;
            for me in living {
                let Moves { take, give } = moves(*me, living, living, leases);
                for (seen, owner) in take.iter().map(|l| (l, Some(*me))).chain(give.iter().map(|l| (l, None)))
                {
                    let lease = leases.iter_mut().find(|l| l.subject == seen.subject).expect("known");
                    assert!(lease.owner.is_none_or(|o| !living.contains(&o)) || lease.owner == Some(*me));
                    (lease.owner, lease.epoch) = (owner, lease.epoch + 1);
                    moved += 1;
                }
            }
            if moved == before {
                return moved;
            }
        }
        panic!("leases go on moving");
    }

    proptest! {
        /// Whatever it begins with, everybody ends with a fair share, and then nothing moves.
        #[test]
        fn shares_end_fair(owners in prop::collection::vec(prop::option::of(0u8..9), 0..40), nodes in 1u8..6) {
            let living = ids(nodes);
            let mut leases = leases(&owners);
            settle(&living, &mut leases);
            let count = |id: &Uuid| leases.iter().filter(|l| l.owner == Some(*id)).count();
            let shares: Vec<usize> = living.iter().map(count).collect();
            prop_assert_eq!(shares.iter().sum::<usize>(), owners.len());
            let (least, most) = (shares.iter().min().expect("nodes"), shares.iter().max().expect("nodes"));
            prop_assert!(most - least <= 1, "{shares:?}");
        }

        /// A node that comes costs no more moves than its share, twice (given and taken).
        #[test]
        fn a_join_moves_only_its_share(count in 0usize..40, nodes in 1u8..6) {
            let mut leases = leases(&vec![None; count]);
            settle(&ids(nodes), &mut leases);
            let moved = settle(&ids(nodes + 1), &mut leases);
            prop_assert!(moved <= 2 * (count / usize::from(nodes + 1) + usize::from(nodes) + 1), "{moved}");
        }
    }

    #[test]
    fn who_does_not_run_the_service_takes_nothing() {
        assert_eq!(moves(Uuid::from_u128(7), &ids(2), &ids(2), &leases(&[None, Some(1)])), Moves::default());
    }

    #[test]
    fn what_a_leaving_node_still_has_is_not_taken_and_what_it_gave_back_is() {
        let (me, leases) = (Uuid::from_u128(1), leases(&[Some(2), None, Some(9), Some(1)]));
        let taken = moves(me, &[me], &ids(2), &leases).take;
        assert_eq!(taken, [leases[1].clone(), leases[2].clone()]);
    }

    #[test]
    fn single_partitions_of_many_groups_are_spread() {
        let living = ids(3);
        let first = |group: &str| {
            living.iter().position(|me| quota(*me, &living, group, 1) == 1).expect("one has it")
        };
        let homes: std::collections::BTreeSet<usize> =
            ["relay", "keeper", "a", "b", "c", "d"].iter().map(|g| first(g)).collect();
        assert_eq!(homes.len(), 3);
    }
}
