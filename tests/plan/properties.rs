//! What holds for every input.

use crate::*;

fn all_formats(plan: &Plan) -> String {
    let shown = Format::ALL.map(|(_, format)| render(plan, format, Style { width: 80, ..Style::default() }));
    shown.join("\n")
}

fn catalog(queues: &[(u8, u32, u32)], values: &[i64]) -> Catalog {
    let mut all = org();
    for (name, limit, priority) in queues {
        all = all.queue(&format!("us/q{name}"), |q| {
            q.concurrency = if *limit == 9 { Limit::Unlimited } else { Limit::At(*limit) };
            q.priority = if *priority == 9 { Priority::Highest } else { Priority::At(*priority) };
        });
    }
    for (i, value) in values.iter().enumerate() {
        all = all.workflow(&format!("vision/w{i}"), edit(*value));
    }
    all.build()
}

fn catalogs() -> impl Strategy<Value = Catalog> {
    (prop::collection::vec((0u8..6, 0u32..10, 0u32..10), 0..6), prop::collection::vec(0i64..3, 0..6))
        .prop_map(|(queues, values)| catalog(&queues, &values))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_differs_from_itself(x in catalogs()) {
        let plan = compare(&x, &x, Some(&idle(&x)));
        prop_assert!(plan.objects.is_empty() && plan.starts.is_empty() && plan.division.is_empty());
        prop_assert_eq!(plan.exit_code, PlanExit::Unchanged);
    }

    #[test]
    fn the_same_input_gives_the_same_bytes_and_another_input_another_digest(a in catalogs(), b in catalogs()) {
        let (one, two) = (compare(&a, &b, Some(&idle(&a))), compare(&a.clone(), &b.clone(), Some(&idle(&a))));
        prop_assert_eq!(all_formats(&one), all_formats(&two));
        let back = compare(&b, &a, Some(&idle(&b)));
        prop_assert_eq!(one.digest == back.digest, a == b);
    }

    #[test]
    fn a_plan_is_empty_after_it_was_applied(a in catalogs(), b in catalogs()) {
        let mut source = Followed::unseen();
        source.base = Some(a);
        source.admissions.baseline = true;
        let again = b.clone();
        source.push(org().with(|c| *c = b), "apply");
        let plan = source.look(&again, "again");
        prop_assert!(plan.objects.is_empty());
    }

    #[test]
    fn no_rendering_shows_a_secret(secret in "[a-zA-Z0-9+/]{12,24}", old in "[a-zA-Z0-9+/]{12,24}") {
        let with = |secret: &str| {
            let command = format!("export DB_PASSWORD={secret}\ncurl https://me:{secret}@host/ --token {secret}\n");
            let run = json!({"container": {
                "env": [{"name": "API_TOKEN", "value": secret}],
                "command": ["sh", "-c", command], "args": ["--api-key", secret, format!("--secret={secret}")],
            }});
            one().workflow("vision/train", |w| w.operation.change(|operation| {
                operation.run = run;
                operation.inputs.insert("password".into(), json!(secret));
                operation.inputs.insert("plain".into(), json!(secret));
                operation.to_env.insert("PLAIN_TOKEN".into(), "plain".into());
            })).build()
        };
        let empty = org().build();
        for plan in [compare(&with(&old), &with(&secret), None), compare(&empty, &with(&secret), None)] {
            let shown = all_formats(&plan);
            prop_assert!(!shown.contains(&secret), "{}", shown);
            prop_assert!(!shown.contains(&old), "{}", shown);
            prop_assert_eq!(plan.starts.len(), 1);
        }
    }

    #[test]
    fn no_rendering_passes_on_what_a_terminal_would_obey(evil in "[\\x00-\\x1f\\x7f-\\x9f\\u{202a}-\\u{202e}\\u{2066}-\\u{2069}a@<`|*%:,-]{1,40}") {
        let value = evil.clone();
        let plan = compare(
            &one().build(),
            &one().preset("p", json!({ "x": value })).workflow("vision/train", |w| {
                w.operation.change(|operation| {
                    operation.inputs.insert(evil.clone(), json!(evil));
                    operation.run["container"]["command"] = json!([evil.clone() + "\nsecond line"]);
                });
                w.unrunnable = Some(evil.clone());
            }).build(),
            None,
        );
        for (name, format) in Format::ALL {
            let shown = render(&plan, format, Style::default());
            let bad = shown.chars().find(|c| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c) || ('\u{2066}'..='\u{2069}').contains(c));
            prop_assert!(bad.is_none(), "{name}: {bad:?} in {shown}");
        }
        // A command of the runner begins a line; none may begin inside of a value.
        let commands = render(&plan, Format::Github, Style::default());
        prop_assert!(commands.lines().all(|line| ["::notice ", "::warning ", "::error "].iter().any(|c| line.starts_with(c))));
    }
}
