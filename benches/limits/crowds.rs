//! The crowds that are tried.

use std::num::NonZeroU32;

use weir::{config::Priority, sim::Limits};

use crate::{
    calls::Standing,
    crowd::{Crowd, CrowdGoal, Member},
    demand::Size,
    dice::Spread,
    hidden::Hidden,
};

/// A chat of a few hundred tokens.
const CHAT: Size = Size {
    weight: 1.0,
    input: Spread::around(300.0),
    max_output: Some(300),
    output: Spread::around(150.0),
};
/// What they share: 300 calls of [`CHAT`] a minute, or so.
const TOKENS: u32 = 200_000;
/// Whose turn comes as soon as it can.
const EAGER: f64 = 0.2;

fn member(connections: u32, pause: f64) -> Member {
    Member {
        standing: Standing::EQUAL,
        connections,
        pause,
        size: CHAT,
    }
}

fn crowd(name: &'static str, about: &'static str, members: Vec<Member>) -> Crowd {
    Crowd {
        name,
        about,
        hidden: Hidden {
            limits: Limits {
                tokens_per_minute: Some(TOKENS),
                ..Limits::default()
            },
            tiers: Vec::new(),
        },
        members,
        intruder: None,
        minutes: 4.0,
        goal: CrowdGoal::default(),
    }
}

/// The members, the intruder last.
fn intruded(mut crowd: Crowd, intruder: Member, goal: CrowdGoal) -> Crowd {
    crowd.intruder = Some(crowd.members.len());
    crowd.members.push(intruder);
    crowd.goal = goal;
    crowd
}

/// All of them, in the order of the report.
pub(crate) fn all() -> Vec<Crowd> {
    let batch = |connections| Member {
        standing: Standing {
            priority: Priority::Batch,
            ..Standing::EQUAL
        },
        ..member(connections, EAGER)
    };
    let weights = [1, 2, 4].map(|weight| Member {
        standing: Standing {
            weight: NonZeroU32::new(weight).unwrap_or(NonZeroU32::MIN),
            ..Standing::EQUAL
        },
        ..member(12, EAGER)
    });
    vec![
        intruded(
            crowd(
                "greedy",
                "50 connections of one app beside nine apps with 5 each, all of which want more than their share",
                vec![member(5, EAGER); 9],
            ),
            member(50, EAGER),
            CrowdGoal {
                jain: Some(0.95),
                wait: Some(2.0),
                time: None,
            },
        ),
        intruded(
            crowd(
                "greedy-light",
                "50 connections of one app beside nine that want about half of their share",
                vec![member(2, 5.5); 9],
            ),
            member(50, EAGER),
            CrowdGoal {
                wait: Some(2.0),
                ..CrowdGoal::default()
            },
        ),
        Crowd {
            goal: CrowdGoal {
                jain: Some(0.95),
                ..CrowdGoal::default()
            },
            ..crowd(
                "weights",
                "three eager apps of weight 1, 2 and 4; Jain's index of tokens by weight",
                weights.into(),
            )
        },
        intruded(
            crowd(
                "batch",
                "50 batch connections beside interactive apps that want about half of the limit",
                vec![member(2, 5.5); 9],
            ),
            batch(50),
            CrowdGoal {
                time: Some(1.1),
                ..CrowdGoal::default()
            },
        ),
        crowd(
            "ageing",
            "interactive apps that want more than the limit, and a batch app that must not starve",
            [vec![member(8, EAGER); 9], vec![batch(5)]].concat(),
        ),
    ]
}
