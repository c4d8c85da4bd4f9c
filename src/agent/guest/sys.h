/* Linux for x86-64 without a C library: system calls, their numbers, structures and constants, as far as the agent uses them.
 * @source Linux arch/x86/entry/syscalls/syscall_64.tbl, include/uapi. Written out here, so that nothing but the compiler is needed to build. */
#ifndef SYS_H
#define SYS_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef short i16;
typedef int i32;
typedef long i64;

#ifndef NULL
#define NULL ((void *)0)
#endif

/* start.c. Results as the kernel gives them: −errno for an error. */
i64 sys6(i64 number, i64 a, i64 b, i64 c, i64 d, i64 e, i64 f);
/* As vfork(2): the child runs on the parent's memory and stack until it executes or exits; it must not return from the caller. */
#ifdef __TINYC__
i64 vfork_process(void);
#else
i64 vfork_process(void) __attribute__((returns_twice));
#endif

#define SYS0(n) sys6(n, 0, 0, 0, 0, 0, 0)
#define SYS1(n, a) sys6(n, (i64)(a), 0, 0, 0, 0, 0)
#define SYS2(n, a, b) sys6(n, (i64)(a), (i64)(b), 0, 0, 0, 0)
#define SYS3(n, a, b, c) sys6(n, (i64)(a), (i64)(b), (i64)(c), 0, 0, 0)
#define SYS4(n, a, b, c, d) sys6(n, (i64)(a), (i64)(b), (i64)(c), (i64)(d), 0, 0)
#define SYS5(n, a, b, c, d, e) sys6(n, (i64)(a), (i64)(b), (i64)(c), (i64)(d), (i64)(e), 0)

enum {
  NR_read = 0, NR_write = 1, NR_open = 2, NR_close = 3, NR_stat = 4, NR_fstat = 5, NR_lstat = 6, NR_poll = 7, NR_lseek = 8,
  NR_rt_sigaction = 13, NR_rt_sigprocmask = 14, NR_ioctl = 16, NR_access = 21, NR_dup2 = 33, NR_nanosleep = 35, NR_getpid = 39,
  NR_socket = 41, NR_connect = 42, NR_sendto = 44, NR_recvfrom = 45, NR_shutdown = 48, NR_bind = 49, NR_listen = 50,
  NR_setsockopt = 54, NR_clone = 56, NR_fork = 57, NR_execve = 59, NR_exit = 60, NR_wait4 = 61, NR_kill = 62, NR_fcntl = 72, NR_fsync = 74,
  NR_ftruncate = 77, NR_chdir = 80, NR_rename = 82, NR_mkdir = 83, NR_rmdir = 84, NR_unlink = 87, NR_symlink = 88,
  NR_readlink = 89, NR_chmod = 90, NR_fchmod = 91, NR_fchown = 93, NR_lchown = 94, NR_umask = 95, NR_sysinfo = 99,
  NR_setuid = 105, NR_setgid = 106, NR_setsid = 112, NR_setgroups = 116, NR_statfs = 137, NR_prctl = 157, NR_chroot = 161,
  NR_sync = 162, NR_mount = 165, NR_umount2 = 166, NR_reboot = 169, NR_sethostname = 170, NR_init_module = 175,
  NR_getdents64 = 217, NR_clock_settime = 227, NR_clock_gettime = 228, NR_openat = 257, NR_mkdirat = 258, NR_mknodat = 259,
  NR_fchownat = 260, NR_newfstatat = 262, NR_unlinkat = 263, NR_symlinkat = 266, NR_readlinkat = 267, NR_fchmodat = 268,
  NR_utimensat = 280, NR_accept4 = 288, NR_signalfd4 = 289, NR_pipe2 = 293, NR_inotify_init1 = 294, NR_inotify_add_watch = 254,
  NR_inotify_rm_watch = 255, NR_finit_module = 313, NR_getrandom = 318, NR_pidfd_open = 434, NR_uname = 63, NR_linkat = 265, NR_renameat2 = 316, NR_setpriority = 141
};

enum {
  ENOENT = 2, ESRCH = 3, EINTR = 4, EIO = 5, ENXIO = 6, E2BIG = 7, ENOEXEC = 8, EAGAIN = 11, ENOMEM = 12, EACCES = 13, EBUSY = 16,
  EPERM = 1, EEXIST = 17, ENODEV = 19, ENOTDIR = 20, EISDIR = 21, EINVAL = 22, ENOSPC = 28, EROFS = 30, EPIPE = 32, ENAMETOOLONG = 36, ELOOP = 40,
  ENOTEMPTY = 39, EPROTO = 71, EOVERFLOW = 75, ETIMEDOUT = 110
};

/* open, fcntl */
enum {
  O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_CREAT = 0100, O_EXCL = 0200, O_NOCTTY = 0400, O_TRUNC = 01000, O_APPEND = 02000,
  O_NONBLOCK = 04000, O_DIRECTORY = 0200000, O_NOFOLLOW = 0400000, O_CLOEXEC = 02000000, O_PATH = 010000000
};
enum { AT_FDCWD = -100, AT_SYMLINK_NOFOLLOW = 0x100, AT_REMOVEDIR = 0x200 };
enum { F_GETFL = 3, F_SETFL = 4, F_SETPIPE_SZ = 1031 };
enum { SEEK_SET = 0, SEEK_END = 2 };
enum { S_IFMT = 0170000, S_IFDIR = 0040000, S_IFREG = 0100000, S_IFLNK = 0120000, S_IFCHR = 0020000, S_IFBLK = 0060000 };

struct stat {
  u64 dev, ino, nlink;
  u32 mode, uid, gid, pad0;
  u64 rdev;
  i64 size, blksize, blocks;
  i64 atime, atime_nsec, mtime, mtime_nsec, ctime, ctime_nsec;
  i64 unused[3];
};

/* mount */
enum { MS_RDONLY = 1, MS_NOSUID = 2, MS_NODEV = 4, MS_NOEXEC = 8, MS_REMOUNT = 32, MS_NOATIME = 1024, MS_BIND = 4096, MS_MOVE = 8192, MS_RELATIME = 1 << 21 };
enum { MNT_DETACH = 2 };

/* poll, signals, processes */
struct pollfd { i32 fd; u16 events, revents; };
enum { POLLIN = 1, POLLOUT = 4, POLLERR = 8, POLLHUP = 16, POLLNVAL = 32 };
enum { SIG_BLOCK = 0, SIG_SETMASK = 2 };
enum { SIGHUP = 1, SIGINT = 2, SIGKILL = 9, SIGPIPE = 13, SIGTERM = 15, SIGCHLD = 17, SIGRTMIN = 34 };
struct kernel_sigaction { void *handler; u64 flags; void *restorer; u64 mask; };
enum { WNOHANG = 1 };
enum { PR_SET_NAME = 15 };

/* sockets */
enum { AF_UNIX = 1, AF_INET = 2, AF_NETLINK = 16, AF_VSOCK = 40 };
enum { SOCK_STREAM = 1, SOCK_DGRAM = 2, SOCK_RAW = 3, SOCK_NONBLOCK = 04000, SOCK_CLOEXEC = 02000000 };
enum { SHUT_WR = 1, MSG_NOSIGNAL = 0x4000 };
struct sockaddr_vm { u16 family, reserved; u32 port, cid; u8 flags, zero[3]; };
struct sockaddr_un { u16 family; char path[108]; };
enum { VMADDR_CID_HOST = 2 };
#define VMADDR_CID_ANY 0xffffffffu

/* terminals */
enum { TIOCSCTTY = 0x540E, TIOCSWINSZ = 0x5414, TIOCSPTLCK = 0x40045431, TIOCGPTPEER = 0x5441, FIONREAD = 0x541B };
struct winsize { u16 rows, columns, x, y; };

/* time, power */
struct timespec { i64 seconds, nanoseconds; };
enum { CLOCK_REALTIME = 0, CLOCK_MONOTONIC = 1, CLOCK_BOOTTIME = 7 };
#define REBOOT_MAGIC1 0xfee1deadu
#define REBOOT_MAGIC2 672274793u
#define REBOOT_RESTART 0x01234567u
#define REBOOT_POWER_OFF 0x4321fedcu

struct dirent64 { u64 ino; i64 off; u16 reclen; u8 type; char name[1]; };

#endif
