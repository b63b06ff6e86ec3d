//! Puts the built console into the server: writes a table of its files, each included as bytes.
//! Where the console was not built the table is empty, and the node says at `/` how to build it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const DIST: &str = "../../web/console/dist";

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed={DIST}");
    // A folder that is not there counts as changed each time.
    fs::create_dir_all(DIST)?;
    let mut files = Vec::new();
    collect(Path::new(DIST), &mut files)?;
    // Sorted by path, because it is searched by path.
    files.sort();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets it for build scripts"));
    let copy = out.join("console");
    copy_to(&copy, &files)?;
    fs::write(out.join("console_files.rs"), table(&copy, &files))
}

/// A copy, so that a console that is built anew meanwhile takes nothing from under the compiler.
fn copy_to(copy: &Path, files: &[PathBuf]) -> io::Result<()> {
    if copy.exists() {
        fs::remove_dir_all(copy)?;
    }
    for file in files {
        let to = copy.join(inside(file));
        fs::create_dir_all(to.parent().expect("it is inside of the copy"))?;
        fs::copy(file, to)?;
    }
    Ok(())
}

fn inside(file: &Path) -> &Path {
    file.strip_prefix(DIST).expect("it was found there")
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn table(copy: &Path, files: &[PathBuf]) -> String {
    let mut rows = String::new();
    for file in files {
        let (path, bytes) = (inside(file), copy.join(inside(file)));
        // Writing to a String cannot fail.
        let _ = writeln!(rows, "    ({path:?}, include_bytes!({bytes:?})),");
    }
    format!("&[\n{rows}]\n")
}
