//! `keel`: one binary, one subcommand a job.

fn main() {}
