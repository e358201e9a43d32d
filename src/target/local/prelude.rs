//! Steps before the program of an attempt (`init`), in its own process group: a shell takes them one after the other and
//! then becomes the program. A supervisor knows nothing of them, and stops and times them with the rest.

/// A step before the program.
#[derive(Debug, Clone, Default)]
pub struct Prelude {
    /// What messages call it.
    pub name: String,
    /// The program and its arguments; never empty.
    pub argv: Vec<String>,
    /// Its environment variables beside those of the program.
    pub env: Vec<(String, String)>,
    /// Where it starts, when not in the directory of the attempt.
    pub dir: Option<String>,
}

/// A program that takes the steps and then becomes another program, in a directory.
pub fn wrapped(steps: &[Prelude], argv: &[String], dir: Option<&str>) -> Vec<String> {
    let mut script = String::new();
    for step in steps {
        let env: Vec<String> = step.env.iter().map(|(name, value)| quoted(&format!("{name}={value}"))).collect();
        let with = if env.is_empty() { String::new() } else { format!("env {} ", env.join(" ")) };
        let failed = quoted(&format!("{} failed with exit code", step.name));
        script += &format!("({}exec {with}{})", enter(step.dir.as_deref()), line(&step.argv));
        script += &format!(" || {{ code=$?; echo {failed} $code >&2; exit $code; }}\n");
    }
    script += &format!("{}exec {}", enter(dir), line(argv));
    vec!["/bin/sh".to_owned(), "-c".to_owned(), script]
}

/// Goes to a directory; one that is relative is made.
fn enter(dir: Option<&str>) -> String {
    match dir {
        None => String::new(),
        Some(dir) if dir.starts_with('/') => format!("cd {} && ", quoted(dir)),
        Some(dir) => format!("mkdir -p {0} && cd {0} && ", quoted(&format!("./{dir}"))),
    }
}

fn line(argv: &[String]) -> String {
    argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// A word that a shell takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_of_a_person_is_read_by_the_shell() {
        let step = Prelude {
            name: "init[0]".to_owned(),
            argv: vec!["echo".to_owned(), "$(id) 'x'".to_owned()],
            env: vec![("A".to_owned(), "`id`".to_owned())],
            dir: Some("a b".to_owned()),
        };
        let script = &wrapped(&[step], &["true".to_owned()], Some("/x;id"))[2];
        let want = r#"(mkdir -p './a b' && cd './a b' && exec env 'A=`id`' 'echo' '$(id) '\''x'\''')"#.to_owned()
            + " || { code=$?; echo 'init[0] failed with exit code' $code >&2; exit $code; }\n"
            + "cd '/x;id' && exec 'true'";
        assert_eq!(*script, want);
    }
}
