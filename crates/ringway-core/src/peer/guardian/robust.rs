//! The kernel's robust-futex list, with its nodes in private memory.
//!
//! When a thread dies, the kernel walks a list that the thread registered. For each
//! node it looks at the word `offset` bytes further on; if the word holds the thread's
//! id, it writes OWNER_DIED there and wakes one sleeper. The C library's robust mutexes
//! keep the nodes beside the words. In shared memory a peer could lead the walk
//! astray. So here each node lies in a private page, with a page of the segment mapped
//! right behind it:
//!
//! ```text
//! private page      . . . node . . . . . .      node: pointer to the next node
//! segment's page    . . . live . . . . . .      the same place one page on: offset = page size
//! ```
//!
//! No pointer lies in shared memory, and one offset serves every segment. The kernel
//! reads the list while the thread dies; everything here changes it by single stores,
//! so that it is whole at every instant.
#![allow(unsafe_code, reason = "a list that the kernel reads, and the mappings it lies in")]

use crate::sync::AtomicU64;
use crate::sync::Ordering::Release;
use core::ffi::c_void;
use core::ptr::NonNull;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use std::io;
use std::os::fd::BorrowedFd;

/// The kernel walks no further than 2048 nodes.
pub(super) const MOST_NODES: usize = 2000;

/// `struct robust_list_head`: 64-bit systems only, as all of this crate.
#[repr(C)]
struct Head {
    next: AtomicU64,
    offset: i64,
    pending: u64,
}

/// A thread's list. Lives for ever, as the kernel has its address.
pub(super) struct List {
    head: &'static Head,
    /// What is linked, the newest last: the head points to it, it to the one before.
    nodes: Vec<(u64, NodePtr)>,
}

#[derive(Clone, Copy)]
struct NodePtr(NonNull<AtomicU64>);

// SAFETY: a node is only accessed as an atomic, while its page is mapped: pages are
// unlinked before they are unmapped.
unsafe impl Send for NodePtr {}

impl NodePtr {
    fn address(self) -> u64 {
        self.0.as_ptr().expose_provenance() as u64
    }

    fn point_to(self, next: u64) {
        // SAFETY: see `Send`: the page is mapped, and the place is aligned.
        let word = unsafe { self.0.as_ref() };
        // ORDERING robust-list (release to the kernel): a node is complete before another
        // points to it. The kernel follows the list in the thread's own exit.
        word.store(next, Release);
    }
}

impl List {
    /// An empty list.
    pub(super) fn new() -> Self {
        let offset = i64::try_from(rustix::param::page_size()).unwrap_or(i64::MAX);
        let head: &'static Head =
            Box::leak(Box::new(Head { next: AtomicU64::new(0), offset, pending: 0 }));
        let list = Self { head, nodes: Vec::new() };
        // ORDERING robust-list (release to the kernel): see `point_to`.
        list.head.next.store(list.address(), Release);
        list
    }

    /// Where the kernel finds it, for [`register`].
    pub(super) fn address(&self) -> u64 {
        std::ptr::from_ref(self.head).expose_provenance() as u64
    }

    /// Links the node of `page`; `false` if there are as many as the kernel walks.
    pub(super) fn link(&mut self, id: u64, page: &NodePage) -> bool {
        if self.nodes.len() >= MOST_NODES {
            return false;
        }
        let newest = self.nodes.last().map_or(self.address(), |(_, node)| node.address());
        let node = page.node();
        node.point_to(newest);
        // ORDERING robust-list (release to the kernel): see `point_to`.
        self.head.next.store(node.address(), Release);
        self.nodes.push((id, node));
        true
    }

    /// Takes a node out of the list. Its page can be unmapped afterwards.
    pub(super) fn unlink(&mut self, id: u64) {
        let Some(at) = self.nodes.iter().position(|(node, _)| *node == id) else { return };
        let after = match at.checked_sub(1) {
            Some(older) => self.nodes[older].1.address(),
            None => self.address(),
        };
        match self.nodes.get(at + 1) {
            Some((_, newer)) => newer.point_to(after),
            // ORDERING robust-list (release to the kernel): see `point_to`.
            None => self.head.next.store(after, Release),
        }
        self.nodes.remove(at);
    }
}

/// Makes the list at `address` the calling thread's, instead of the C library's: the
/// thread must never hold a robust mutex.
pub(super) fn register(address: u64) -> io::Result<()> {
    let size = size_of::<Head>();
    // SAFETY: the address is that of a `Head` that lives for ever, and the thread is
    // ours: nobody else relies on its list.
    match unsafe { libc::syscall(libc::SYS_set_robust_list, address, size) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Two neighbouring pages: a private one for a node, and one to be replaced by a segment's.
pub(crate) struct Pair {
    base: NonNull<c_void>,
    page: usize,
}

// SAFETY: plain memory that is unmapped when the value is dropped; the node in it is
// only accessed as an atomic.
unsafe impl Send for Pair {}

const ACCESS: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

impl Pair {
    fn new() -> io::Result<Self> {
        let page = rustix::param::page_size();
        // SAFETY: the kernel chooses the place; nothing is replaced.
        let base =
            unsafe { mmap_anonymous(std::ptr::null_mut(), 2 * page, ACCESS, MapFlags::PRIVATE)? };
        Ok(Self { base: NonNull::new(base).ok_or(io::ErrorKind::OutOfMemory)?, page })
    }

    fn second(&self) -> *mut c_void {
        self.base.as_ptr().wrapping_byte_add(self.page)
    }

    /// Lets go of the first page only: replacing the second one failed, and may have left a
    /// hole that is somebody else's by now, or all as it was. Nothing tells which; rather a page,
    /// or a segment that stays mapped, is lost.
    fn lose_second(self) {
        // SAFETY: the first page is ours, and no list has a node in it any more.
        let _ = unsafe { munmap(self.base.as_ptr(), self.page) };
        std::mem::forget(self);
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // SAFETY: both pages are ours, and no list has a node in them any more.
        let _ = unsafe { munmap(self.base.as_ptr(), 2 * self.page) };
    }
}

/// A private page for a node, and the segment's page with the word behind it.
pub(crate) struct NodePage {
    pair: Pair,
    within: usize,
}

impl NodePage {
    /// For the `live` word at offset `at` of the segment behind `segment`, a
    /// description that is not used for locks: the mapping keeps it open. In `pair`, if
    /// there is one to be used again.
    pub(crate) fn map(pair: Option<Pair>, segment: BorrowedFd<'_>, at: u64) -> io::Result<Self> {
        let pair = pair.map_or_else(Pair::new, Ok)?;
        let within = usize::try_from(at).map_err(|_| io::ErrorKind::InvalidInput)? % pair.page;
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: replaces the second of two pages that are there for this and nothing else.
        // The word at `at` lies in the file, so the kernel can write to it.
        match unsafe { mmap(pair.second(), pair.page, ACCESS, flags, segment, at - within as u64) }
        {
            Ok(_) => Ok(Self { pair, within }),
            Err(error) => {
                pair.lose_second();
                Err(error.into())
            }
        }
    }

    /// Lets go of the segment. The pages can be used for another, which takes half as long as
    /// mapping new ones; `None` if not. No list has the node any more.
    pub(super) fn let_go(self) -> Option<Pair> {
        let Self { pair, .. } = self;
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        // SAFETY: replaces the second of our two pages, which nobody uses.
        let let_go = unsafe { mmap_anonymous(pair.second(), pair.page, ProtFlags::empty(), flags) };
        if let_go.is_err() {
            pair.lose_second();
            return None;
        }
        Some(pair)
    }

    fn node(&self) -> NodePtr {
        // The same place in the private page as the word has in the segment's. Records
        // are 128 bytes apart and pages end where records do: 8 bytes fit.
        // SAFETY: `within` is below the page size.
        let at = unsafe { self.pair.base.byte_add(self.within) };
        NodePtr(at.cast())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(list: &List) -> Vec<u64> {
        let mut at = list.head.next.load(crate::sync::Ordering::Acquire);
        let mut seen = Vec::new();
        while at != list.address() {
            let (id, node) = list.nodes.iter().find(|(_, n)| n.address() == at).unwrap();
            seen.push(*id);
            // SAFETY: linked, so its page is mapped.
            at = unsafe { node.0.as_ref() }.load(crate::sync::Ordering::Acquire);
        }
        seen
    }

    #[test]
    fn the_list_is_whole_after_every_change() {
        let memory = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&memory, 1 << 16).unwrap();
        let fd = std::os::fd::AsFd::as_fd(&memory);
        let pages: Vec<NodePage> =
            (0..4).map(|i| NodePage::map(None, fd, 4864 + 128 * i).unwrap()).collect();
        let mut list = List::new();
        for (id, page) in (0..).zip(&pages) {
            assert!(list.link(id, page));
        }
        assert_eq!(walk(&list), [3, 2, 1, 0]);
        list.unlink(1);
        assert_eq!(walk(&list), [3, 2, 0]);
        list.unlink(3);
        list.unlink(0);
        assert_eq!(walk(&list), [2]);
        assert!(list.link(9, &pages[1]));
        assert_eq!(walk(&list), [9, 2]);
        list.unlink(2);
        list.unlink(9);
        list.unlink(7);
        assert!(walk(&list).is_empty());
    }

    /// How many mappings there are of a file of this name.
    fn mappings(name: &str) -> usize {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| line.contains(name)).count()
    }

    #[test]
    fn a_pair_is_used_again_and_holds_no_segment_meanwhile() {
        let segment = |name| {
            let fd = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC).unwrap();
            rustix::fs::ftruncate(&fd, 1 << 16).unwrap();
            fd
        };
        let (one, other) = (segment("ringway-pair-one"), segment("ringway-pair-other"));
        let fd = std::os::fd::AsFd::as_fd;
        let page = NodePage::map(None, fd(&one), 4864).unwrap();
        let mut list = List::new();
        assert!(list.link(1, &page));
        assert_eq!(mappings("ringway-pair-one"), 1);
        list.unlink(1);
        let base = page.pair.base;
        let pair = page.let_go().unwrap();
        assert_eq!(mappings("ringway-pair-one"), 0);
        // Another word, at another place in its page.
        let page = NodePage::map(Some(pair), fd(&other), 4864 + 8192 + 256).unwrap();
        assert_eq!((page.pair.base, mappings("ringway-pair-other")), (base, 1));
        assert!(list.link(2, &page));
        assert_eq!(walk(&list), [2]);
        list.unlink(2);
        drop(page);
        assert_eq!(mappings("ringway-pair-other"), 0);
    }
}
