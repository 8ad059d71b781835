//! A file system in memory that forgets what was not synced: on a crash each unsynced page is kept, lost or torn by chance,
//! so is each unsynced name. It can also run out of room, write short, fail or hold any single operation, or lose power at a
//! given one. A failed fsync drops the dirtiness, as Linux does: what was in the cache is read, and never written any more.

use artel_bus::segments::{Disk, LogFile};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

const PAGE: usize = 512;

/// Chance with a seed (SplitMix64, Steele et al. 2014).
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}

#[derive(Clone, Default)]
struct Content {
    /// As reads see it.
    now: Vec<u8>,
    /// As of the last sync.
    synced: Vec<u8>,
    /// Pages of a failed sync that were not written again: no later sync takes them along.
    dropped: BTreeSet<usize>,
}

impl Content {
    fn sync(&mut self) {
        let before = std::mem::replace(&mut self.synced, self.now.clone());
        for page in &self.dropped {
            for i in page * PAGE..((page + 1) * PAGE).min(self.synced.len()) {
                self.synced[i] = before.get(i).copied().unwrap_or(0);
            }
        }
    }

    fn fail_sync(&mut self) {
        let differs = |page: &usize| {
            let of = |bytes: &[u8]| {
                let end = ((page + 1) * PAGE).min(bytes.len());
                bytes.get(page * PAGE..end).unwrap_or_default().to_vec()
            };
            of(&self.now) != of(&self.synced)
        };
        self.dropped = (0..self.now.len().div_ceil(PAGE)).filter(differs).collect();
    }
}

/// A kind of operation that can fail or wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Open,
    Create,
    SetLen,
    Sync,
    SyncDir,
    Rename,
    Remove,
    RemoveDir,
}

#[derive(Default)]
struct State {
    files: BTreeMap<u64, Content>,
    /// Names as they are, and as they are after a crash.
    names: BTreeMap<PathBuf, u64>,
    synced_names: BTreeMap<PathBuf, u64>,
    folders: BTreeSet<PathBuf>,
    synced_folders: BTreeSet<PathBuf>,
    next_file: u64,
    /// Handles of an earlier life are dead.
    life: u64,
    locked: bool,
    faults: Faults,
    /// Whether an operation waits.
    is_holding: bool,
}

/// What goes wrong.
#[derive(Default, Clone)]
pub struct Faults {
    /// Changing operations until the power goes; the last one happens in part.
    pub power_for: Option<u64>,
    /// Bytes of all files together.
    pub room: Option<usize>,
    /// The most bytes one write takes.
    pub short_writes: Option<usize>,
    /// Operations that fail without an effect, on paths that contain the text.
    pub failing: Vec<(Op, &'static str)>,
    /// The same, each once.
    pub failing_once: Vec<(Op, &'static str)>,
    /// An operation that waits until this is taken away.
    pub holding: Option<(Op, &'static str)>,
    /// Syncing a file succeeds without doing anything.
    pub lying_sync: bool,
    /// How often a sync failed.
    pub failed_syncs: usize,
}

#[derive(Clone)]
pub struct SimDisk(Arc<(Mutex<State>, Condvar)>);

fn power() -> io::Error {
    io::Error::other("no power")
}

impl State {
    /// Counts a changing operation; false when it is the one in which the power goes.
    fn spend(&mut self) -> io::Result<bool> {
        match &mut self.faults.power_for {
            Some(0) => Err(power()),
            Some(left) => {
                *left -= 1;
                Ok(*left > 0)
            }
            None => Ok(true),
        }
    }

    fn used(&self) -> usize {
        self.names.values().filter_map(|file| self.files.get(file)).map(|f| f.now.len()).sum()
    }
}

impl SimDisk {
    pub fn new() -> SimDisk {
        SimDisk(Arc::default())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }

    /// The state, once the operation is not held; an error when it is to fail.
    fn begin(&self, op: Op, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        let is_it = |(of, part): &(Op, &str)| *of == op && path.to_str().unwrap().contains(part);
        let mut state = self.state();
        while state.faults.holding.as_ref().is_some_and(is_it) {
            state.is_holding = true;
            self.0.1.notify_all();
            state = self.0.1.wait(state).unwrap();
        }
        let once = state.faults.failing_once.iter().position(is_it);
        if let Some(at) = once {
            state.faults.failing_once.remove(at);
        }
        if once.is_some() || state.faults.failing.iter().any(is_it) {
            return Err(io::Error::other("the disk is broken"));
        }
        Ok(state)
    }

    pub fn set(&self, change: impl FnOnce(&mut Faults)) {
        let mut state = self.state();
        change(&mut state.faults);
        state.is_holding &= state.faults.holding.is_some();
        self.0.1.notify_all();
    }

    /// Returns when an operation is held.
    pub fn wait_held(&self) {
        let state = self.state();
        drop(self.0.1.wait_while(state, |state| !state.is_holding).unwrap());
    }

    pub fn faults(&self) -> Faults {
        self.state().faults.clone()
    }

    /// Whether the power is gone.
    pub fn is_dead(&self) -> bool {
        self.state().faults.power_for == Some(0)
    }

    /// Takes the power away for good or bad and gives it back: what was not synced is left to chance.
    pub fn crash(&self, chance: &mut Chance) {
        let mut state = self.state();
        let mut paths: BTreeSet<PathBuf> = state.names.keys().cloned().collect();
        paths.extend(state.synced_names.keys().cloned());
        let mut names = BTreeMap::new();
        for path in paths {
            let (now, before) = (state.names.get(&path), state.synced_names.get(&path));
            if let Some(file) = if chance.below(2) == 0 { now } else { before } {
                names.insert(path, *file);
            }
        }
        state.folders = state
            .folders
            .iter()
            .filter(|f| state.synced_folders.contains(*f) || chance.below(2) == 0)
            .cloned()
            .collect();
        let folders = state.folders.clone();
        names.retain(|path, _| path.parent().is_none_or(|folder| folders.contains(folder)));
        for content in state.files.values_mut() {
            content.now = after_crash(content, chance);
            content.synced = content.now.clone();
            content.dropped.clear();
        }
        state.names = names.clone();
        state.synced_names = names;
        state.synced_folders = state.folders.clone();
        state.life += 1;
        state.locked = false;
        state.faults = Faults::default();
    }

    /// Ends the process and not the power: everything written is still there, and still not synced.
    pub fn kill(&self) {
        let mut state = self.state();
        state.life += 1;
        state.locked = false;
        state.faults = Faults::default();
    }

    /// Changes a file behind the log's back, durably.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let file = state.names[path];
        let content = state.files.get_mut(&file).unwrap();
        change(&mut content.now);
        content.synced = content.now.clone();
        content.dropped.clear();
    }

    pub fn content(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        state.files[&state.names[path]].now.clone()
    }
}

/// The length is the old one, the new one or one between; each page that differs is the new, the old, or half of each.
fn after_crash(content: &Content, chance: &mut Chance) -> Vec<u8> {
    let (now, old) = (&content.now, &content.synced);
    let (short, long) = (now.len().min(old.len()), now.len().max(old.len()));
    let length = match chance.below(3) {
        0 => now.len(),
        1 => old.len(),
        _ => short + chance.below(long - short + 1),
    };
    let at = |bytes: &Vec<u8>, i: usize| bytes.get(i).copied().unwrap_or(0);
    let mut after = Vec::with_capacity(length);
    for page in 0..length.div_ceil(PAGE) {
        let range = page * PAGE..((page + 1) * PAGE).min(length);
        let new_bytes = match chance.below(3) {
            _ if content.dropped.contains(&page) => 0,
            0 => 0,
            1 => PAGE,
            _ => chance.below(PAGE),
        };
        after
            .extend(range.clone().map(|i| if i - range.start < new_bytes { at(now, i) } else { at(old, i) }));
    }
    after
}

impl Disk for SimDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.spend()?;
        state.folders.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Op::SyncDir, path)?;
        if !state.spend()? {
            return Err(power());
        }
        let inside = |p: &PathBuf| p.parent() == Some(path);
        state.synced_names.retain(|p, _| !inside(p));
        let names: Vec<_> =
            state.names.iter().filter(|(p, _)| inside(p)).map(|(p, f)| (p.clone(), *f)).collect();
        state.synced_names.extend(names);
        let folders: Vec<_> = state.folders.iter().filter(|p| inside(p)).cloned().collect();
        state.synced_folders.retain(|p| !inside(p));
        state.synced_folders.extend(folders);
        state.synced_folders.insert(path.to_owned());
        Ok(())
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        if !state.folders.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.names.keys().filter(|p| p.parent() == Some(path));
        Ok(inside.map(|p| p.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn LogFile>> {
        let is_new = create && !self.state().names.contains_key(path);
        let mut state = self.begin(if is_new { Op::Create } else { Op::Open }, path)?;
        if state.faults.power_for == Some(0) {
            return Err(power());
        }
        let file = match state.names.get(path) {
            Some(file) => *file,
            None if create && state.folders.contains(path.parent().unwrap()) => {
                state.spend()?;
                let file = state.next_file;
                state.next_file += 1;
                state.files.insert(file, Content::default());
                state.names.insert(path.to_owned(), file);
                file
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(SimFile { disk: self.clone(), path: path.to_owned(), file, life: state.life }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.begin(Op::Rename, to)?;
        state.spend()?;
        let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), file);
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Op::Remove, path)?;
        state.spend()?;
        state.names.remove(path).map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Op::RemoveDir, path)?;
        state.spend()?;
        if state.names.keys().any(|p| p.parent() == Some(path)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.folders.remove(path);
        Ok(())
    }
    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let mut state = self.state();
        if std::mem::replace(&mut state.locked, true) {
            return Ok(None);
        }
        Ok(Some(Box::new(Lock { disk: self.clone(), life: state.life })))
    }
}

struct Lock {
    disk: SimDisk,
    life: u64,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.life == self.life {
            state.locked = false;
        }
    }
}

struct SimFile {
    disk: SimDisk,
    path: PathBuf,
    file: u64,
    life: u64,
}

impl SimFile {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.life == self.life { Ok(state) } else { Err(power()) }
    }

    /// For an operation that can fail or wait.
    fn begin(&self, op: Op) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.begin(op, &self.path)?;
        if state.life == self.life { Ok(state) } else { Err(power()) }
    }
}

impl LogFile for SimFile {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        let mut state = self.state()?;
        let is_whole = state.spend()?;
        let at = usize::try_from(at).unwrap();
        let used = state.used();
        let length = state.files[&self.file].now.len();
        let mut taken = bytes.len().min(state.faults.short_writes.unwrap_or(usize::MAX));
        if let Some(room) = state.faults.room {
            let left = room.saturating_sub(used) + length.saturating_sub(at);
            taken = taken.min(left);
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        if !is_whole {
            taken /= 2;
        }
        let content = state.files.get_mut(&self.file).unwrap();
        content.now.resize(length.max(at + taken), 0);
        content.now[at..at + taken].copy_from_slice(&bytes[..taken]);
        content.dropped.retain(|page| (page + 1) * PAGE <= at || page * PAGE >= at + taken);
        if is_whole { Ok(taken) } else { Err(power()) }
    }
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let state = self.state()?;
        let content = &state.files[&self.file].now;
        let rest = content.get(usize::try_from(at).unwrap()..).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
    fn sync(&self) -> io::Result<()> {
        let mut state = match self.begin(Op::Sync) {
            Ok(state) => state,
            Err(error) => {
                let mut state = self.state()?;
                state.faults.failed_syncs += 1;
                state.files.get_mut(&self.file).unwrap().fail_sync();
                return Err(error);
            }
        };
        if !state.spend()? {
            return Err(power());
        }
        if !state.faults.lying_sync {
            state.files.get_mut(&self.file).unwrap().sync();
        }
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.begin(Op::SetLen)?;
        state.spend()?;
        state.files.get_mut(&self.file).unwrap().now.resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }
    fn size(&self) -> io::Result<u64> {
        Ok(self.state()?.files[&self.file].now.len() as u64)
    }
}
