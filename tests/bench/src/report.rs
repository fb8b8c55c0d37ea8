//! The figures: a table for people, a file for machines.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Plan;
use crate::machine::{FOREIGN_AT_MOST, Machine, Share};
use crate::samples::Samples;

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub what: String,
    pub measured: String,
    pub target: String,
    pub reached: Option<bool>,
    pub kind: Kind,
}

/// What a figure tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Kind {
    /// A count that is the same on every machine.
    Exact,
    /// A count that differs from run to run, below a ceiling that holds on every machine.
    Ceiling,
    /// A time, a share or a size, which tells of the machine as well.
    Measured,
    /// Something without a target.
    Note,
}

impl Kind {
    /// Whether it fails the run when it is missed.
    fn is_count(self) -> bool {
        matches!(self, Self::Exact | Self::Ceiling)
    }
}

/// All that was measured.
pub struct Report {
    machine: Machine,
    command: String,
    figures: Vec<Figure>,
    samples: serde_json::Map<String, Value>,
}

impl Report {
    pub fn new(plan: &Plan) -> Result<Self> {
        let machine = Machine::look()?;
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let command = format!("bench {}", arguments.join(" ")).trim().to_owned();
        eprintln!(
            "{command}, of {}, on {} cores of {}, {} GiB; load {}",
            machine.commit, machine.cores, machine.cpu, machine.memory_gib, machine.load_at_start
        );
        let mut report = Self {
            machine,
            command,
            figures: Vec::new(),
            samples: serde_json::Map::new(),
        };
        if !plan.quick {
            report.binary(plan)?;
        }
        Ok(report)
    }

    fn binary(&mut self, plan: &Plan) -> Result<()> {
        let operator = &plan.operator;
        let bytes = fs::metadata(operator)
            .with_context(|| format!("{}; has it been built?", operator.display()))?
            .len();
        let mib = bytes as f64 / f64::from(1 << 20);
        let most = 15.0;
        // So near to it, one decimal would hide on which side it is.
        self.add(Figure {
            what: "the binary".into(),
            measured: format!("{mib:.2} MiB"),
            target: format!("≤ {most:.2} MiB"),
            reached: Some(mib <= most),
            kind: Kind::Measured,
        });
        Ok(())
    }

    /// A count that must be this, on every machine.
    pub fn exactly(&mut self, what: &str, measured: usize, target: usize) {
        self.add(Figure {
            what: what.into(),
            measured: measured.to_string(),
            target: format!("exactly {target}"),
            reached: Some(measured == target),
            kind: Kind::Exact,
        });
    }

    /// A count with a ceiling: it differs from run to run, and is never above this, on any machine.
    pub fn no_more(&mut self, what: &str, measured: usize, target: usize) {
        self.add(Figure {
            what: what.into(),
            measured: measured.to_string(),
            target: format!("≤ {target}, a ceiling"),
            reached: Some(measured <= target),
            kind: Kind::Ceiling,
        });
    }

    /// What tells of the machine as well, so that no run fails on it.
    pub fn at_most(&mut self, what: &str, measured: f64, target: f64, unit: &str) {
        self.add(Figure {
            what: what.into(),
            measured: with_unit(measured, unit),
            target: format!("≤ {}", with_unit(target, unit)),
            reached: Some(measured <= target),
            kind: Kind::Measured,
        });
    }

    /// Medians, one beside the other.
    pub fn beside(&mut self, what: &str, unit: &str, ours: &Samples, floor: &Samples, most: f64) {
        let factor = ours.median() / floor.median();
        self.add(Figure {
            what: what.into(),
            measured: format!(
                "{} ({}–{}) beside {} ({}–{}): {factor:.2} ×",
                with_unit(ours.median(), unit),
                number(ours.least()),
                number(ours.most()),
                with_unit(floor.median(), unit),
                number(floor.least()),
                number(floor.most()),
            ),
            target: format!("≤ {most:.2} ×"),
            reached: Some(factor <= most),
            kind: Kind::Measured,
        });
    }

    /// 99th percentiles, one beside the other.
    pub fn p99_beside(&mut self, what: &str, ours: &Samples, floor: &Samples, most: f64) {
        let factor = ours.p99() / floor.p99();
        let told = |it: &Samples| {
            let (p99, median) = (with_unit(it.p99(), "ms"), with_unit(it.median(), "ms"));
            format!("{p99} (median {median} of {})", it.len())
        };
        self.add(Figure {
            what: what.into(),
            measured: format!("{} beside {}: {factor:.2} ×", told(ours), told(floor)),
            target: format!("≤ {most:.2} ×"),
            reached: Some(factor <= most),
            kind: Kind::Measured,
        });
    }

    /// What others had of the machine while the rows before this one were measured.
    pub fn others(&mut self, shares: &[Share]) {
        let most = |of: fn(&Share) -> f64| shares.iter().map(of).fold(0.0, f64::max);
        let (foreign, stolen) = (most(|it| it.foreign), most(|it| it.stolen));
        let mut told = format!("{foreign:.1} %, of it stolen by its host {stolen:.1} %");
        let all = shares.len();
        let disturbed = shares.iter().filter(|it| it.is_too_much()).count();
        if disturbed > 0 {
            let most = FOREIGN_AT_MOST * 100.0;
            let _ = write!(told, "; **more than {most:.0} % in {disturbed} of {all}**");
        }
        let early = shares.iter().filter(|it| !it.was_quiet).count();
        if early > 0 {
            let _ = write!(told, "; **not quiet before {early} of {all}**");
        }
        self.note("… of the machine with others' work, at most", told);
    }

    /// What is told without a target.
    pub fn note(&mut self, what: &str, measured: String) {
        self.add(Figure {
            what: what.into(),
            measured,
            target: String::new(),
            reached: None,
            kind: Kind::Note,
        });
    }

    fn add(&mut self, figure: Figure) {
        let Figure {
            what,
            measured,
            target,
            ..
        } = &figure;
        let missed = if figure.reached == Some(false) {
            "   MISSED"
        } else {
            ""
        };
        eprintln!("  {what}: {measured}   [{target}]{missed}");
        self.figures.push(figure);
    }

    /// The samples behind the figures, for the file.
    pub fn keep(&mut self, name: &str, samples: &impl Serialize) -> Result<()> {
        self.samples
            .insert(name.to_owned(), serde_json::to_value(samples)?);
        Ok(())
    }

    /// Prints the table and writes the file. Every run, a quick one too, fails on a count that is
    /// not what it must be or above its ceiling, and none on what tells of the machine as well.
    pub fn finish(self, json: &Path) -> Result<()> {
        let figures = json!({
            "machine": self.machine,
            "command": self.command,
            "figures": self.figures,
            "samples": self.samples,
        });
        if let Some(folder) = json.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(json, format!("{figures:#}\n"))?;
        println!("{}", self.table());
        let missed = |it: &&Figure| it.kind.is_count() && it.reached == Some(false);
        let missed: Vec<&str> = self
            .figures
            .iter()
            .filter(missed)
            .map(|it| it.what.as_str())
            .collect();
        if !missed.is_empty() {
            bail!("not exact, or above its ceiling: {}", missed.join("; "));
        }
        Ok(())
    }

    fn table(&self) -> String {
        let machine = &self.machine;
        let mut text = format!(
            "`{}`, of {}; {} cores of {}, {} GiB, Linux {}\n\n\
             | figure | measured | to reach | |\n|---|---|---|---|\n",
            self.command,
            machine.commit,
            machine.cores,
            machine.cpu,
            machine.memory_gib,
            machine.kernel,
        );
        for figure in &self.figures {
            let mark = match figure.reached {
                Some(true) => "reached",
                Some(false) => "**missed**",
                None => "",
            };
            let Figure {
                what,
                measured,
                target,
                ..
            } = figure;
            let _ = writeln!(text, "| {what} | {measured} | {target} | {mark} |");
        }
        text
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn with_unit(value: f64, unit: &str) -> String {
    format!("{} {unit}", number(value))
}
