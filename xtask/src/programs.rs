//! Starts other programs, and names the command line when one fails.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// A command that does not see what Cargo told this program about itself: build scripts that watch
/// those variables would run again for nothing.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let told_by_cargo = name.to_str().is_some_and(|name| {
            ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|own| name.starts_with(own))
        });
        if told_by_cargo {
            command.env_remove(name);
        }
    }
    command
}

/// Cargo, with these arguments.
pub fn cargo(args: &[&str]) -> Command {
    let mut cargo = command("cargo");
    cargo.args(args);
    cargo
}

/// Builds the binary `runabout` as everything else is built here, and gives its path.
pub fn runabout() -> Result<&'static Path> {
    run(&mut cargo(&["build", "--release", "--workspace"]))?;
    Ok(Path::new("target/release/runabout"))
}

/// Runs a command to its end, its output going where ours goes.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("failed to start {}", shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs a command and takes its standard output.
pub fn read(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("failed to start {}", shown(command)))?;
    if !output.status.success() {
        bail!("{} ended with {}", shown(command), output.status);
    }
    Ok(output.stdout)
}

/// Runs a command and takes the text it printed, without the line end.
pub fn read_line(command: &mut Command) -> Result<String> {
    let text = String::from_utf8(read(command)?)
        .with_context(|| format!("{} printed something other than text", shown(command)))?;
    Ok(text.trim_end().to_owned())
}

/// Whether a command can be started and succeeds; what it prints is dropped.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Installs Debian packages, where that is possible without asking anybody.
pub fn install_from_debian(packages: &[&str]) -> Result<()> {
    let wanted = packages.join(" ");
    let may_install = succeeds(command("apt-get").arg("--version"))
        && read_line(command("id").arg("-u")).is_ok_and(|id| id == "0");
    if !may_install {
        bail!("missing: {wanted}; on Debian, `sudo apt-get install {wanted}`");
    }
    println!("installing Debian's {wanted}");
    run(command("apt-get").args(["update", "-qq"]))?;
    run(command("apt-get").args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages))
        .with_context(|| format!("failed to install {wanted}"))
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy()));
    format!("`{}`", words.join(" "))
}
