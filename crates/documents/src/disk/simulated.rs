//! A disk in memory for tests. It can crash at any step, and then has what was synced, and of the
//! rest as much as a seed says. It can refuse a step for want of room, or fail to sync.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::{Disk, Fault, Stamp, too_large};

/// What happens at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// The machine stops.
    Crash,
    /// Writes find no room, this one and later ones until there is some again.
    Full,
    /// A sync fails, once.
    Unsynced,
    /// The thread that writes panics, once.
    Panic,
}

#[derive(Default)]
pub(crate) struct SimulatedDisk {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    files: HashMap<u64, File>,
    /// What names mean now.
    names: BTreeMap<PathBuf, u64>,
    folders: Vec<PathBuf>,
    /// What they mean on the platter.
    synced_names: BTreeMap<PathBuf, u64>,
    /// Changes of names that are not on the platter for sure, in order.
    unsynced: Vec<(PathBuf, Option<u64>)>,
    next_inode: u64,
    clock_ns: i128,
    steps: u64,
    /// What somebody writes into a file just before it is replaced, each time.
    hands: VecDeque<Vec<u8>>,
    bytes_read: usize,
    mishap: Option<(u64, Mishap)>,
    is_crashed: bool,
    is_full: bool,
}

#[derive(Clone, Default)]
struct File {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    modified_ns: i128,
}

impl SimulatedDisk {
    /// The steps taken so far.
    pub(crate) fn steps(&self) -> u64 {
        self.state.lock().steps
    }

    /// Bytes read so far.
    pub(crate) fn bytes_read(&self) -> usize {
        self.state.lock().bytes_read
    }

    /// Somebody writes these, one just before each of the next times that a file is replaced.
    pub(crate) fn hands_before_exchanges(&self, texts: &[&str]) {
        self.state.lock().hands = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    }

    /// Lets that step go wrong.
    pub(crate) fn mishap_at(&self, step: u64, mishap: Mishap) {
        self.state.lock().mishap = Some((step, mishap));
    }

    /// There is room again.
    pub(crate) fn free(&self) {
        self.state.lock().is_full = false;
    }

    /// What the disk holds after a crash, for `choose` to decide how much of what was not synced;
    /// it is given the number of possibilities.
    pub(crate) fn after_crash(&self, mut choose: impl FnMut(usize) -> usize) -> Self {
        let state = self.state.lock();
        let mut names = state.synced_names.clone();
        // A journal keeps the order of what it holds.
        for (path, inode) in &state.unsynced[..choose(state.unsynced.len() + 1)] {
            match inode {
                Some(inode) => names.insert(path.clone(), *inode),
                None => names.remove(path),
            };
        }
        let mut files = HashMap::new();
        for inode in names.values() {
            let file = &state.files[inode];
            // All that was written, or a part of what was appended, or nothing of it.
            let bytes = match choose(3) {
                0 => file.bytes.clone(),
                1 if file.bytes.starts_with(&file.synced) => {
                    let more = file.bytes.len() - file.synced.len();
                    file.bytes[..file.synced.len() + choose(more + 1)].to_vec()
                }
                _ => file.synced.clone(),
            };
            let modified_ns = file.modified_ns;
            files.insert(*inode, File { synced: bytes.clone(), bytes, modified_ns });
        }
        let (next_inode, clock_ns) = (state.next_inode, state.clock_ns);
        let folders = state.folders.clone();
        let synced_names = names.clone();
        let state =
            State { files, names, folders, synced_names, next_inode, clock_ns, ..State::default() };
        Self { state: Mutex::new(state) }
    }

    /// Somebody else writes a file, all of it durable.
    pub(crate) fn write_by_hand(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state.lock();
        let inode = state.create(path);
        // People are slower than disks.
        state.clock_ns = state.now() + 10_000_000;
        let now = state.clock_ns;
        let file = File { bytes: bytes.to_vec(), synced: bytes.to_vec(), modified_ns: now };
        state.files.insert(inode, file);
        state.synced_names.insert(path.to_owned(), inode);
    }
}

/// Whether this is one of the store's own threads.
fn is_writing() -> bool {
    std::thread::current().name() == Some(crate::shared::THREAD)
}

impl State {
    /// Something happens, or goes wrong.
    fn step(&mut self, writes: bool, syncs: bool) -> Result<(), Fault> {
        let crashed = || io::Error::other("crashed");
        if self.is_crashed {
            return Err(Fault::Unsynced(crashed()));
        }
        self.steps += 1;
        match self.mishap.filter(|(at, _)| self.steps >= *at) {
            Some((_, Mishap::Crash)) => {
                self.is_crashed = true;
                return Err(Fault::Unsynced(crashed()));
            }
            Some((_, Mishap::Full)) if writes => {
                self.mishap = None;
                self.is_full = true;
            }
            Some((_, Mishap::Panic)) if is_writing() => {
                self.mishap = None;
                panic!("broken for a test");
            }
            Some((_, Mishap::Unsynced)) if syncs => {
                self.mishap = None;
                return Err(Fault::Unsynced(io::Error::other("cannot sync")));
            }
            _ => {}
        }
        if writes && self.is_full {
            return Err(Fault::Refused(io::ErrorKind::StorageFull.into()));
        }
        Ok(())
    }

    fn plain_step(&mut self) -> io::Result<()> {
        self.step(false, false).map_err(|_| io::Error::other("crashed"))
    }

    fn now(&mut self) -> i128 {
        self.clock_ns = self.clock_ns.max(i128::from(crate::shared::now_ms()) * 1_000_000) + 1;
        self.clock_ns
    }

    fn inode(&self, path: &Path) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The file of that name, emptied; a new one if there is none.
    fn create(&mut self, path: &Path) -> u64 {
        let inode = self.names.get(path).copied().unwrap_or_else(|| {
            self.next_inode += 1;
            self.next_inode
        });
        self.files.entry(inode).or_default().bytes.clear();
        self.rename(path, Some(inode));
        inode
    }

    fn rename(&mut self, path: &Path, inode: Option<u64>) {
        match inode {
            Some(inode) => self.names.insert(path.to_owned(), inode),
            None => self.names.remove(path),
        };
        self.unsynced.push((path.to_owned(), inode));
    }

    fn write(&mut self, inode: u64, offset: usize, bytes: &[u8]) {
        let now = self.now();
        let file = self.files.entry(inode).or_default();
        file.bytes.resize(file.bytes.len().max(offset + bytes.len()), 0);
        file.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        file.modified_ns = now;
    }

    fn sync(&mut self, inode: u64) -> Result<(), Fault> {
        self.step(false, true)?;
        let file = self.files.entry(inode).or_default();
        file.synced = file.bytes.clone();
        Ok(())
    }

    fn stamp(&self, inode: u64) -> Stamp {
        let file = &self.files[&inode];
        let (bytes, modified_ns) = (file.bytes.len() as u64, file.modified_ns);
        Stamp { inode, bytes, modified_ns, is_file: true }
    }
}

impl Disk for SimulatedDisk {
    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state.lock();
        state.plain_step()?;
        let all = state.names.keys().chain(&state.folders);
        let inside = all.filter(|path| path.parent() == Some(folder));
        let name = |path: &PathBuf| Some(path.file_name()?.to_string_lossy().into_owned());
        Ok(inside.filter_map(name).collect())
    }

    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
        let mut state = self.state.lock();
        state.plain_step()?;
        let bytes = state.files[&state.inode(path)?].bytes.clone();
        if bytes.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        state.bytes_read += bytes.len();
        Ok(bytes)
    }

    fn read_at(&self, path: &Path, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut state = self.state.lock();
        state.plain_step()?;
        let offset = usize::try_from(offset).expect("small");
        let all = &state.files[&state.inode(path)?].bytes;
        let read = all.get(offset..offset + bytes).map(<[u8]>::to_vec);
        state.bytes_read += bytes;
        read.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn stamp(&self, path: &Path) -> io::Result<Option<Stamp>> {
        let mut state = self.state.lock();
        state.plain_step()?;
        Ok(state.inode(path).ok().map(|inode| state.stamp(inode)))
    }

    fn make_folder(&self, path: &Path) -> Result<(), Fault> {
        let mut state = self.state.lock();
        state.step(true, true)?;
        if !state.folders.iter().any(|it| it == path) {
            state.folders.push(path.to_owned());
        }
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<Stamp, Fault> {
        let mut state = self.state.lock();
        state.step(true, false)?;
        let inode = state.create(path);
        state.step(true, false)?;
        state.write(inode, 0, &bytes[..bytes.len() / 2]);
        state.step(true, false)?;
        state.write(inode, 0, bytes);
        state.sync(inode)?;
        Ok(state.stamp(inode))
    }

    fn append(&self, path: &Path, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let mut state = self.state.lock();
        let inode = state.inode(path).map_err(Fault::Refused)?;
        let offset = usize::try_from(offset).expect("small");
        state.step(true, false)?;
        state.write(inode, offset, &bytes[..bytes.len() / 2]);
        state.step(true, false)?;
        state.write(inode, offset, bytes);
        state.sync(inode)
    }

    fn cut(&self, path: &Path, bytes: u64) -> Result<(), Fault> {
        let mut state = self.state.lock();
        let inode = state.inode(path).map_err(Fault::Refused)?;
        state.step(false, false)?;
        let bytes = usize::try_from(bytes).expect("small");
        state.files.entry(inode).or_default().bytes.truncate(bytes);
        state.sync(inode)
    }

    fn exchange(&self, from: &Path, to: &Path) -> io::Result<bool> {
        let hand = self.state.lock().hands.pop_front();
        if let Some(bytes) = hand {
            // A new file, as editors make one.
            self.state.lock().names.remove(to);
            self.write_by_hand(to, &bytes);
        }
        let mut state = self.state.lock();
        state.plain_step()?;
        let new = state.inode(from)?;
        let old = state.inode(to).ok();
        // One step, and so one change of the journal: the name that matters last is put first.
        state.rename(to, Some(new));
        state.rename(from, old);
        Ok(old.is_some())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.plain_step()?;
        if state.names.contains_key(path) {
            state.rename(path, None);
        }
        Ok(())
    }

    fn sync_folder(&self, _folder: &Path) -> Result<(), Fault> {
        let mut state = self.state.lock();
        state.step(false, true)?;
        // A journal is written as a whole.
        for (path, inode) in std::mem::take(&mut state.unsynced) {
            match inode {
                Some(inode) => state.synced_names.insert(path, inode),
                None => state.synced_names.remove(&path),
            };
        }
        Ok(())
    }
}
