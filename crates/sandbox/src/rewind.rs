//! Puts the memory of a run back to how it began, byte for byte, so that the next run need not make one.
//!
//! A page of that memory is its module's, or a page of zeros, until it is first written to. Then there is a
//! page fault, and from then on it is the memory's own, for as long as the memory is mapped. So what may
//! differ from the beginning are the pages that the system says are the memory's own, and they are no more
//! than before if the thread that ran had no page fault. This holds as nobody else touches such a memory,
//! and nothing here has the system bring pages in by itself (`mlockall`, large pages).

use std::cell::Cell;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::ptr;

use nix::sys::resource::{UsageWho, getrusage};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

use crate::pages;

/// So many may well differ after a short run.
const PAGES_FEW: usize = 96;

/// How many beyond those are put back, all runs of an instance together, until it is given up: a run that
/// needs few should not for ever put back what one has needed that has come before it. By then it has cost
/// some milliseconds.
const SURPLUS_MAX: usize = 20_000;

/// An entry of a page map, as the kernel's documentation has it (admin-guide/mm/pagemap).
const ENTRY_BYTES: usize = 8;
const IS_PRESENT: u64 = 1 << 63;
const IS_SWAPPED: u64 = 1 << 62;
/// A file's, or shared: of our memories, the module's own. A page of zeros that was only read is not
/// marked, and taken for the memory's own.
const IS_SHARED: u64 = 1 << 61;

/// How many pages it is tried out on whether the system tells what is right.
const TRIED_PAGES: usize = 3;

/// The pages of a memory that may differ from its beginning.
#[derive(Default)]
pub struct OwnPages {
    /// In order. `None` until they have been looked for.
    numbers: Option<Vec<usize>>,
    /// What was put back beyond [`PAGES_FEW`], run by run.
    surplus: usize,
}

impl OwnPages {
    /// Puts `memory` back after a run, which has the size that it began with: `begin` is given each page that
    /// may differ, and where it starts. False if the system cannot tell what to put back, or if that is not
    /// worth it any more: then the memory is for nobody else.
    pub fn put_back(
        &mut self,
        memory: &mut [u8],
        system: &PageMap,
        has_faulted: bool,
        begin: impl Fn(usize, &mut [u8]),
    ) -> bool {
        if !self.find(memory, system, has_faulted) {
            return false;
        }
        let Some(numbers) = &self.numbers else { return false };
        self.surplus += numbers.len().saturating_sub(PAGES_FEW);
        if self.surplus > SURPLUS_MAX {
            pages::give_back(memory);
            return false;
        }
        for number in numbers {
            let start = number * system.page_bytes();
            begin(start, &mut memory[start..start + system.page_bytes()]);
        }
        true
    }

    fn find(&mut self, memory: &mut [u8], system: &PageMap, has_faulted: bool) -> bool {
        if self.numbers.is_some() && !has_faulted {
            return true;
        }
        // From now on no page comes to it but one by one.
        if self.numbers.is_none() && !pages::keep_small(memory) {
            return false;
        }
        let Some(found) = system.own_pages(memory) else { return false };
        // Those from before are its own as well, should one be out of the system's sight just now.
        let numbers = self.numbers.get_or_insert_default();
        numbers.extend(found);
        numbers.sort_unstable();
        numbers.dedup();
        true
    }
}

/// What the system tells of this process's pages.
pub struct PageMap {
    file: File,
    page_bytes: usize,
}

/// How many page faults a thread had had at some moment, if that is known.
#[derive(Clone, Copy, Default)]
pub struct Faults(Option<u64>);

thread_local! {
    /// What was counted on this thread at last.
    static LAST_FAULTS: Cell<Faults> = const { Cell::new(Faults(None)) };
}

impl PageMap {
    /// `None` where the system does not tell, or counts no page faults.
    pub fn open() -> Option<Self> {
        let file = File::open("/proc/self/pagemap").ok();
        let map = file.map(|file| Self { file, page_bytes: rustix::param::page_size() });
        let map = map.filter(Self::is_right);
        if map.is_none() {
            tracing::info!(
                "this system does not tell what runs write to; each begins with a new instance"
            );
        }
        map
    }

    /// Tries it out, as there are kernels that are not Linux and say that they are.
    fn is_right(&self) -> bool {
        let bytes = TRIED_PAGES * self.page_bytes;
        let file = memfd_create("runabout", MemfdFlags::CLOEXEC);
        let file = file.and_then(|file| ftruncate(&file, bytes as u64).map(|()| file));
        file.is_ok_and(|file| self.is_right_of(Some(&file)) && self.is_right_of(None))
    }

    /// On pages of a file, mapped as a memory's beginning is, or of none, as the rest of it is: one is
    /// written to, one is read and then written to, and one is left alone.
    #[expect(unsafe_code, reason = "the pages are mapped by hand")]
    fn is_right_of(&self, file: Option<&OwnedFd>) -> bool {
        let (bytes, access) = (TRIED_PAGES * self.page_bytes, ProtFlags::READ | ProtFlags::WRITE);
        let anywhere = ptr::null_mut();
        // SAFETY: the system chooses where.
        let mapped = unsafe {
            match file {
                Some(file) => mmap(anywhere, bytes, access, MapFlags::PRIVATE, file, 0),
                None => mmap_anonymous(anywhere, bytes, access, MapFlags::PRIVATE),
            }
        };
        let Ok(start) = mapped else { return false };
        let pages = start.cast::<u8>();
        // SAFETY: they were mapped just now, to be read and written to, and are nobody else's.
        let is_counted = |number: usize| unsafe {
            let page = pages.add(number * self.page_bytes);
            if number == 1 {
                page.read_volatile();
            }
            let before = self.count_faults();
            page.write_volatile(1);
            before.0.is_some() && self.have_been_since(&before)
        };
        let are_counted = is_counted(0) && is_counted(1);
        let own = self.own_pages_of(start.addr(), TRIED_PAGES);
        // SAFETY: nothing refers to them.
        let unmapped = unsafe { munmap(start, bytes) };
        are_counted && own.as_deref() == Some(&[0, 1]) && unmapped.is_ok()
    }

    pub fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    /// The page faults of this thread, as they were counted at last: asking takes as long as a tenth of a
    /// short run. Those that it has had since are then taken for the next run's.
    pub fn faults(&self) -> Faults {
        match LAST_FAULTS.get() {
            Faults(None) => self.count_faults(),
            last => last,
        }
    }

    fn count_faults(&self) -> Faults {
        let usage = getrusage(UsageWho::RUSAGE_THREAD).ok();
        let all = usage.map(|usage| usage.minor_page_faults() + usage.major_page_faults());
        let faults = Faults(all.and_then(|all| u64::try_from(all).ok()));
        LAST_FAULTS.set(faults);
        faults
    }

    /// Whether this thread, which is the one of `before`, may have had more since.
    pub fn have_been_since(&self, before: &Faults) -> bool {
        before.0.is_none() || self.count_faults().0 != before.0
    }

    /// The numbers of the pages that are the memory's own, `None` if that cannot be told.
    pub fn own_pages(&self, memory: &[u8]) -> Option<Vec<usize>> {
        self.own_pages_of(memory.as_ptr().addr(), memory.len() / self.page_bytes)
    }

    fn own_pages_of(&self, address: usize, count: usize) -> Option<Vec<usize>> {
        let mut bytes = vec![0; count * ENTRY_BYTES];
        let offset = address / self.page_bytes * ENTRY_BYTES;
        self.file.read_exact_at(&mut bytes, offset as u64).ok()?;
        let (entries, _) = bytes.as_chunks();
        let is_own = |entry: &[u8; ENTRY_BYTES]| {
            let entry = u64::from_ne_bytes(*entry);
            entry & IS_SWAPPED != 0 || entry & (IS_PRESENT | IS_SHARED) == IS_PRESENT
        };
        Some((0..count).filter(|number| is_own(&entries[*number])).collect())
    }
}
