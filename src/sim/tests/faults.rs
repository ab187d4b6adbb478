use super::*;
use crate::sim::fault::Time;

const ASK: Ask<'_> = Ask {
    path: "/v1/chat/completions",
    model: Some("gpt-4o"),
    key: "k",
    stream: false,
};

fn hits(faults: &Faults, calls: usize) -> Vec<bool> {
    (0..calls)
        .map(|_| faults.strike(ASK, Instant::now()).act.is_some())
        .collect()
}

fn with(fault: Fault) -> Faults {
    let faults = Faults::new(1);
    faults.inject(fault).unwrap();
    faults
}

#[test]
fn counts_pick_the_calls_they_say() {
    assert_eq!(
        hits(&with(Fault::status(503).times(2)), 4),
        [true, true, false, false]
    );
    let every = Fault {
        every: Some(3),
        ..Fault::status(503)
    };
    assert_eq!(
        hits(&with(every), 6),
        [false, false, true, false, false, true]
    );
    let later = Fault {
        skip: Some(2),
        ..Fault::status(503).times(1)
    };
    assert_eq!(hits(&with(later), 4), [false, false, true, false]);
}

#[test]
fn a_share_is_kept_and_the_same_for_the_same_seed() {
    let share = || {
        hits(
            &with(Fault {
                share: Some(0.3),
                ..Fault::status(503)
            }),
            2_000,
        )
    };
    let count = share().iter().filter(|hit| **hit).count();
    assert!((540..660).contains(&count), "{count}");
    assert_eq!(share(), share());
}

#[tokio::test(start_paused = true)]
async fn windows_open_close_and_repeat() {
    let ms = |ms| Some(Time(Duration::from_millis(ms)));
    let faults = with(Fault {
        from: ms(100),
        until: ms(200),
        period: ms(300),
        ..Fault::status(503)
    });
    let mut seen = Vec::new();
    for _ in 0..12 {
        seen.push(hits(&faults, 1)[0]);
        tokio::time::advance(Duration::from_millis(50)).await;
    }
    let once = [false, false, true, true, false, false];
    assert_eq!(seen, [once, once].concat());
}

#[test]
fn models_endpoints_keys_and_streams_narrow_it() {
    let miss = |fault: Fault| assert_eq!(hits(&with(fault), 1), [false]);
    miss(Fault::status(503).models(&["gpt-5*"]));
    miss(Fault::status(503).endpoints(&["/v1/embeddings"]));
    miss(Fault {
        stream: Some(true),
        ..Fault::status(503)
    });
    miss(Fault {
        keys: vec!["sk-other".into()],
        ..Fault::status(503)
    });
    let faults = with(Fault {
        keys: vec!["sk-one".into()],
        ..Fault::status(503).models(&["gpt-4*"])
    });
    let ask = Ask {
        key: &fingerprint("sk-one"),
        ..ASK
    };
    assert!(faults.strike(ask, Instant::now()).act.is_some());
}

#[test]
fn delays_add_up_and_the_first_act_wins() {
    let faults = with(Fault {
        delay: Some(Duration::from_millis(5).into()),
        ..Fault::of(Kind::Delay)
    });
    faults
        .inject(Fault {
            delay: Some(Duration::from_millis(7).into()),
            ..Fault::status(503)
        })
        .unwrap();
    faults.inject(Fault::status(500).times(1)).unwrap();
    let effects = faults.strike(ASK, Instant::now());
    assert_eq!(effects.delay, Duration::from_millis(12));
    assert_eq!(effects.act.unwrap().1.status, Some(503));
    assert_eq!(
        faults.views()[2].fired,
        0,
        "a fault that did not act is not spent"
    );
    faults.remove(2);
    assert_eq!(
        faults.strike(ASK, Instant::now()).act.unwrap().1.status,
        Some(500)
    );
}

#[test]
fn mistakes_are_named() {
    let error = |fault| Faults::new(1).inject(fault).unwrap_err().to_string();
    assert_eq!(
        error(Fault::error("openai-insufficient-quot")),
        "no recorded failure has the id `openai-insufficient-quot`; did you mean `openai-insufficient-quota`?"
    );
    assert_eq!(
        error(Fault::default()),
        "a fault needs a `kind`, an `error` or a `status`"
    );
    assert_eq!(
        error(Fault {
            share: Some(2.0),
            ..Fault::status(503)
        }),
        "`share` must lie between 0 and 1"
    );
}
