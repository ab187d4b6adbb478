//! The whole way of a text: what it becomes, and what is said when it is wrong.

mod accepted;
mod documented;
mod generated;
mod listeners;
mod refused;
mod shown;

use std::num::NonZeroU32;

use super::{Config, Env, Mistakes, Warning};

/// Two cores, and these variables.
fn read(text: &str, env: &[(&str, &str)]) -> Result<(Config, Vec<Warning>), Mistakes> {
    let cores = NonZeroU32::new(2).expect("two");
    Config::from_text(text, &env.iter().copied().collect::<Env>(), cores)
}

fn sound(text: &str, env: &[(&str, &str)]) -> Config {
    match read(text, env) {
        Ok((config, _)) => config,
        Err(mistakes) => panic!("{mistakes}"),
    }
}

fn wrong(text: &str, env: &[(&str, &str)]) -> Mistakes {
    match read(text, env) {
        Ok((config, _)) => panic!("no mistake found: {config:?}"),
        Err(mistakes) => mistakes,
    }
}

/// One line per mistake: where, and what.
fn brief(mistakes: &Mistakes) -> Vec<String> {
    let line = |mistake: &super::Mistake| {
        let at = match (mistake.line(), &mistake.variable) {
            (Some(line), _) => line.to_string(),
            (None, Some(variable)) => variable.clone(),
            (None, None) => "-".to_owned(),
        };
        let near = mistake
            .suggestion
            .as_ref()
            .map(|name| format!(" ({name}?)"))
            .unwrap_or_default();
        format!("{at}: {}: {}{near}", mistake.path, mistake.message)
    };
    mistakes.iter().map(line).collect()
}
