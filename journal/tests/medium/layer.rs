//! The medium as a file system: one flat directory, answered from memory.
//!
//! In: requests of the kernel. Out: bytes, or the error the medium is in the mood for. One thread, one request at a time:
//! while the power is off the first request waits and the others queue behind it, as on a disk that hangs.

use crate::medium::{Content, Medium, Mood, State};
use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SHORT: Duration = Duration::ZERO;
/// `fallocate` with this bit makes zeros of a range.
const PUNCH_HOLE: i32 = 2;
/// `fallocate` with this bit leaves the size alone.
const KEEP_SIZE: i32 = 1;

pub struct Layer(pub Arc<Medium>);

impl Layer {
    /// The state, unless the medium answers nothing but errors.
    fn enter(&self) -> Result<std::sync::MutexGuard<'_, State>, Errno> {
        let state = self.0.enter();
        if state.mood == Mood::Gone { Err(Errno::EIO) } else { Ok(state) }
    }

    fn attr(state: &State, ino: u64) -> Result<FileAttr, Errno> {
        let (kind, size) = match ino {
            1 => (FileType::Directory, 0),
            _ => (FileType::RegularFile, state.files.get(&ino).ok_or(Errno::ENOENT)?.now.len() as u64),
        };
        let zero = UNIX_EPOCH;
        Ok(FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: size.div_ceil(512),
            atime: zero,
            mtime: zero,
            ctime: zero,
            crtime: zero,
            kind,
            perm: if ino == 1 { 0o755 } else { 0o644 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn found(&self, name: &OsStr) -> Result<FileAttr, Errno> {
        let state = self.enter()?;
        Self::attr(&state, state.named(name).ok_or(Errno::ENOENT)?)
    }

    fn on<T>(&self, ino: INodeNo, work: impl FnOnce(&mut Content, Mood) -> Result<T, Errno>) -> Result<T, Errno> {
        let mut state = self.enter()?;
        let mood = state.mood;
        work(state.files.get_mut(&ino.0).ok_or(Errno::ENOENT)?, mood)
    }
}

fn failing(errno: i32) -> Result<(), Errno> {
    if errno == 0 { Ok(()) } else { Err(Errno::from_i32(errno)) }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

fn done(reply: ReplyEmpty, outcome: Result<(), Errno>) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

impl Filesystem for Layer {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.found(name) {
            Ok(attr) => reply.entry(&SHORT, &attr, Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.enter().and_then(|state| Self::attr(&state, ino.0)) {
            Ok(attr) => reply.attr(&SHORT, &attr),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let resized = size.map_or(Ok(()), |size| {
            self.on(ino, |content, _| {
                content.resize(place(size));
                Ok(())
            })
        });
        match resized.and_then(|()| Self::attr(&*self.enter()?, ino.0)) {
            Ok(attr) => reply.attr(&SHORT, &attr),
            Err(errno) => reply.error(errno),
        }
    }

    fn create(&self, _: &Request, _: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        let made = self.enter().and_then(|mut state| {
            if let Mood::Failing { space, .. } = state.mood {
                failing(space)?;
            }
            let ino = state.create(name, Content::default());
            Self::attr(&state, ino)
        });
        match made {
            Ok(attr) => reply.created(&SHORT, &attr, Generation(0), FileHandle(0), FopenFlags::empty()),
            Err(errno) => reply.error(errno),
        }
    }

    fn unlink(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let gone = self.enter().and_then(|mut state| state.names.remove(name).map(|_| ()).ok_or(Errno::ENOENT));
        done(reply, gone);
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        name: &OsStr,
        _: INodeNo,
        newname: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let moved = self.enter().and_then(|mut state| {
            let ino = state.names.remove(name).ok_or(Errno::ENOENT)?;
            state.names.insert(newname.to_owned(), ino);
            Ok(())
        });
        done(reply, moved);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.enter() {
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.on(ino, |content, _| {
            let len = content.now.len();
            let from = place(offset).min(len);
            Ok(content.now[from..(from + size as usize).min(len)].to_vec())
        });
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.on(ino, |content, mood| {
            if let Mood::Failing { write, .. } = mood {
                failing(write)?;
            }
            content.write(place(offset), data);
            Ok(())
        });
        match written {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap()),
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        done(reply, self.enter().map(|_| ()));
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let synced = self.on(ino, |content, mood| {
            match mood {
                Mood::Lying => return Ok(()),
                Mood::Failing { sync, .. } => failing(sync)?,
                _ => {}
            }
            content.sync();
            Ok(())
        });
        done(reply, synced);
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(reply, self.enter().map(|_| ()));
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let taken = self.on(ino, |content, mood| {
            let (from, to) = (place(offset), place(offset + length));
            if let Mood::Failing { space, .. } = mood {
                failing(space)?;
            }
            if mode & KEEP_SIZE == 0 {
                content.grow(to);
            }
            if mode & PUNCH_HOLE != 0 {
                let to = to.min(content.now.len());
                content.write(from, &vec![0; to.saturating_sub(from)]);
            }
            Ok(())
        });
        done(reply, taken);
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let state = match self.enter() {
            Ok(state) => state,
            Err(errno) => return reply.error(errno),
        };
        for (at, (name, ino)) in state.names.iter().enumerate().skip(place(offset)) {
            if reply.add(INodeNo(*ino), at as u64 + 1, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }
}
