/* What kernels do all the time and so is described in full instead of called: PUSHF POPF CLI STI STAC CLAC SWAPGS SYSCALL SYSRET IRET. Their rare cases
 * (faults by IOPL, traps, windows for a waiting interrupt, uncommon segments) are the calls of system/rflags.ts, system/fast-calls.ts and system/far-transfers.ts.
 * @source SDM vol. 2A "CLAC", "CLI", "IRET"; vol. 2B "POPF", "PUSHF", "STAC", "STI", "SWAPGS", "SYSCALL", "SYSRET" */
import { Reg, Rflags, SegmentIndex, Shadow } from "../registers.ts";
import { semantics, type Sem } from "../sem.ts";
import { DR6_BS } from "../system/debug.ts";
import { Attributes } from "../system/descriptors.ts";
import { push } from "./stack.ts";

const RCX = 1;
const RSP = 4;
const R11 = 11;
/** POPF leaves the short way if it changes one of these. */
const RARE = Rflags.TF | Rflags.IOPL | Rflags.NT | Rflags.RF | Rflags.AC | Rflags.VIF | Rflags.VIP | Rflags.ID;
const KEPT_PLAIN = Rflags.IF | Rflags.DF;
const FLAT_LIMIT = 0xffff_ffff;

const inverse = (mask: number): bigint => BigInt.asUintN(32, ~BigInt(mask));
const allFlags = <V>(s: Sem<V>): V => s.or(s.readFlags(), s.field(Reg.RFLAGS, 4));
const inKernel = <V>(s: Sem<V>): V => s.isZero(s.field(Reg.CPL, 4));

export const PUSHF = semantics("", (s) => push(s, s.and(allFlags(s), s.const(inverse(Rflags.RF | Rflags.VM))), s.size));

export const POPF = semantics("", (s) => {
  const image = s.load(s.reg(RSP, 8), s.size);
  const old = s.field(Reg.RFLAGS, 4);
  const rare = s.and(s.xor(image, old), s.const(s.size === 2 ? RARE & 0xffff : RARE));
  const opened = s.and(s.and(image, s.not(old)), s.const(Rflags.IF));
  const window = s.and(s.ne(opened, s.const(0)), s.ne(s.field(Reg.INTERRUPT_PENDING, 4), s.const(0)));
  s.when(
    s.and(inKernel(s), s.and(s.isZero(rare), s.isZero(window))),
    () => {
      s.setReg(RSP, 8, s.add(s.reg(RSP, 8), s.const(s.size)));
      s.writeFlags(image);
      s.setField(Reg.RFLAGS, 4, s.or(s.and(image, s.const(KEPT_PLAIN)), s.and(old, s.const(inverse(KEPT_PLAIN)))));
    },
    () => {
      s.call("popf", s.const(s.size));
      s.endBlock();
    },
  );
});

export const CLI = semantics("", (s) => {
  s.when(
    inKernel(s),
    () => s.setField(Reg.RFLAGS, 4, s.and(s.field(Reg.RFLAGS, 4), s.const(inverse(Rflags.IF)))),
    () => {
      s.call("cli");
    },
  );
});

/** Without a waiting interrupt only the shadow is left behind, for one that comes before the next instruction. */
export const STI = semantics("", (s) => {
  const rflags = s.field(Reg.RFLAGS, 4);
  s.when(
    s.and(inKernel(s), s.isZero(s.field(Reg.INTERRUPT_PENDING, 4))),
    () => {
      s.when(s.isZero(s.and(rflags, s.const(Rflags.IF))), () => {
        s.setField(Reg.RFLAGS, 4, s.or(rflags, s.const(Rflags.IF)));
        s.setField(Reg.INTERRUPT_SHADOW, 4, s.const(Shadow.STI));
        s.setField(Reg.SHADOW_RIP, 8, s.nextRip());
      });
    },
    () => {
      s.call("sti");
      s.endBlock();
    },
  );
});

const setAc = (on: boolean) =>
  semantics("", (s) => {
    s.when(s.ne(s.field(Reg.CPL, 4), s.const(0)), () => s.raise("#UD"));
    const rflags = s.field(Reg.RFLAGS, 4);
    s.setField(Reg.RFLAGS, 4, on ? s.or(rflags, s.const(Rflags.AC)) : s.and(rflags, s.const(inverse(Rflags.AC))));
    s.accessRightsChanged();
  });
export const STAC = setAc(true);
export const CLAC = setAc(false);

export const SWAPGS = semantics("", (s) => {
  const base = s.field(Reg.GS_BASE, 8);
  s.setField(Reg.GS_BASE, 8, s.field(Reg.KERNEL_GS_BASE, 8));
  s.setField(Reg.KERNEL_GS_BASE, 8, base);
});

/** Segments of a fast call have fixed attributes: no descriptor is read. */
function setFlat<V>(s: Sem<V>, index: number, selector: V, attributes: V): void {
  const at = Reg.SEG + 16 * index;
  s.setField(at, 4, s.or(s.zext(selector, 2), attributes));
  s.setField(at + 4, 4, s.const(FLAT_LIMIT));
  s.setField(at + 8, 8, s.const(0));
}
function requireSyscalls<V>(s: Sem<V>): void {
  s.when(s.isZero(s.and(s.field(Reg.EFER, 4), s.const(1))), () => s.raise("#UD"));
}

/** User code that has set AC may be under alignment checks, which accessRightsChanged() leaves out. */
function alignmentMayMatter<V>(s: Sem<V>, userFlags: V): void {
  s.when(s.ne(s.and(userFlags, s.const(Rflags.AC)), s.const(0)), () => {
    s.call("modeChanged");
  });
}

export const SYSCALL = semantics("", (s) => {
  requireSyscalls(s);
  const flags = allFlags(s);
  const selector = s.and(s.field(Reg.STAR + 4, 4), s.const(0xfffc));
  s.setReg(RCX, 8, s.nextRip());
  s.setReg(R11, 8, s.and(flags, s.const(inverse(Rflags.RF))));
  const left = s.and(flags, s.not(s.or(s.field(Reg.SFMASK, 4), s.const(Rflags.RF))));
  s.writeFlags(left);
  s.setField(Reg.RFLAGS, 4, s.or(s.and(left, s.const(inverse(Rflags.OSZAPC))), s.const(2)));
  setFlat(s, SegmentIndex.CS, selector, s.const(Attributes.CODE64_KERNEL * 0x10000));
  setFlat(s, SegmentIndex.SS, s.add(selector, s.const(8)), s.const(Attributes.DATA_KERNEL * 0x10000));
  s.setField(Reg.CPL, 4, s.const(0));
  s.accessRightsChanged();
  alignmentMayMatter(s, flags);
  s.jump(s.field(Reg.LSTAR, 8), "call");
});

/** RFLAGS bits that SYSRET takes from R11: all but RF, VM and the reserved ones. */
const SYSRET_FLAGS = 0x3c_7fd7;

export const SYSRET = semantics("", (s) => {
  requireSyscalls(s);
  if (s.size !== 8) {
    s.call("sysret", s.const(s.size)); // compatibility mode: refused there
    return s.endBlock();
  }
  const target = s.reg(RCX, 8);
  const canonical = s.shrS(s.shl(target, s.const(16)), s.const(16));
  s.when(s.ne(canonical, target), () => s.raise("#GP"));
  const selector = s.shrU(s.field(Reg.STAR + 4, 4), s.const(16));
  const flags = s.and(s.reg(R11, 8), s.const(SYSRET_FLAGS));
  s.writeFlags(flags);
  s.setField(Reg.RFLAGS, 4, s.or(s.and(flags, s.const(inverse(Rflags.OSZAPC))), s.const(2)));
  setFlat(
    s,
    SegmentIndex.CS,
    s.or(s.add(selector, s.const(16)), s.const(3)),
    s.const(Attributes.CODE64_USER * 0x10000),
  );
  setFlat(s, SegmentIndex.SS, s.or(s.add(selector, s.const(8)), s.const(3)), s.const(Attributes.DATA_USER * 0x10000));
  s.setField(Reg.CPL, 4, s.const(3));
  s.accessRightsChanged();
  alignmentMayMatter(s, flags);
  // unlike IRET, SYSRET that sets TF traps itself: Linux arch/x86/entry/entry_64.S, "syscall_return_via_sysret"
  s.when(s.ne(s.and(flags, s.const(Rflags.TF)), s.const(0)), () => s.setField(Reg.PENDING_DEBUG, 4, s.const(DR6_BS)));
  s.when(s.or(s.and(flags, s.const(Rflags.TF)), opensWindow(s, flags)), () => {
    s.call("interruptsMayBeOpen");
  });
  s.jump(target, "return");
});

/** Descriptors of flat segments that have been used, DPL 0. @source system/descriptors.ts */
const CODE64 = 0x00af_9b00_0000_ffffn;
const DATA = 0x00cf_9300_0000_ffffn;
const DPL_IN_DESCRIPTOR = 45;
const DPL_IN_SEGMENT = 21;
/** RFLAGS bits of IRET's image that leave the short way, that it takes, and that it keeps. RF matters only to breakpoints, and there are none. */
const IRET_RARE = Rflags.TF | Rflags.NT | Rflags.AC;
const IRET_TAKEN = Rflags.OSZAPC | Rflags.DF | Rflags.IF | Rflags.IOPL | Rflags.ID | IRET_RARE;

/** Nothing is special about the kernel's state: no task link, no NMI under way, no breakpoints. */
function iretIsPlain<V>(s: Sem<V>): V {
  const special = s.or(
    s.or(s.field(Reg.CPL, 4), s.field(Reg.NMI_BLOCKED, 4)),
    s.or(s.and(s.field(Reg.RFLAGS, 4), s.const(Rflags.NT)), s.and(s.field(Reg.DR + 56, 4), s.const(0xff))),
  );
  return s.isZero(special);
}

/** Selectors of the GDT, both of level 0 or both of level 3; data segments that user code may not have are null already. */
function iretSelectorsArePlain<V>(s: Sem<V>, cs: V, ss: V): V {
  const limit = s.field(Reg.GDTR_LIMIT, 4);
  const inTable = (selector: V): V => s.isZero(s.ltU(limit, s.or(selector, s.const(7))));
  const level = s.and(cs, s.const(7));
  const data = [SegmentIndex.ES, SegmentIndex.DS, SegmentIndex.FS, SegmentIndex.GS].map((i) =>
    s.field(Reg.SEG + 16 * i, 4),
  );
  const loaded = s.shrU(
    data.reduce((a, b) => s.or(a, b)),
    s.const(16),
  );
  const toUser = s.and(s.eq(level, s.const(3)), s.isZero(loaded));
  return s.and(
    s.and(inTable(cs), inTable(ss)),
    s.and(s.eq(level, s.and(ss, s.const(7))), s.or(toUser, s.isZero(level))),
  );
}

/** The frame on the stack may be returned to in the short way: the descriptors are those of flat segments. */
function iretTargetIsPlain<V>(s: Sem<V>, rip: V, cs: V, ss: V): V {
  const descriptor = (selector: V): V => s.load(s.add(s.field(Reg.GDTR_BASE, 8), s.and(selector, s.const(0xfff8))), 8);
  const dpl = s.shl(s.and(cs, s.const(3)), s.const(DPL_IN_DESCRIPTOR));
  const code = s.eq(descriptor(cs), s.or(dpl, s.const(CODE64)));
  const stack = s.or(s.eq(descriptor(ss), s.or(dpl, s.const(DATA))), s.isZero(ss));
  const canonical = s.eq(s.shrS(s.shl(rip, s.const(16)), s.const(16)), rip);
  return s.and(s.and(code, stack), canonical);
}

/** Would these flags let a waiting interrupt in? */
const opensWindow = <V>(s: Sem<V>, flags: V): V =>
  s.and(s.ne(s.and(flags, s.const(Rflags.IF)), s.const(0)), s.ne(s.field(Reg.INTERRUPT_PENDING, 4), s.const(0)));

/** From the kernel to flat kernel or user code. What is uncommon goes to the call, which does all of it. */
export const IRET = semantics("", (s) => {
  const otherwise = (): void => {
    s.call("iret", s.const(s.size));
    s.jump(s.field(Reg.RIP, 8), "return");
  };
  if (s.size !== 8) return otherwise();
  s.when(
    iretIsPlain(s),
    () => {
      const word = (i: number) => s.load(s.add(s.reg(RSP, 8), s.const(8 * i)), 8);
      const rip = word(0);
      const cs = s.zext(word(1), 2);
      const flags = word(2);
      const rsp = word(3);
      const ss = s.zext(word(4), 2);
      const rare = s.or(s.and(flags, s.const(IRET_RARE)), opensWindow(s, flags));
      s.when(
        s.and(s.isZero(rare), iretSelectorsArePlain(s, cs, ss)),
        () => s.when(iretTargetIsPlain(s, rip, cs, ss), () => returnTo(s, rip, cs, flags, rsp, ss), otherwise),
        otherwise,
      );
    },
    otherwise,
  );
});

function returnTo<V>(s: Sem<V>, rip: V, cs: V, flags: V, rsp: V, ss: V): void {
  const old = s.field(Reg.RFLAGS, 4);
  const dpl = s.shl(s.and(cs, s.const(3)), s.const(DPL_IN_SEGMENT));
  setFlat(s, SegmentIndex.CS, cs, s.or(dpl, s.const(Attributes.CODE64_KERNEL * 0x10000)));
  const present = s.sub(s.const(0), s.ne(ss, s.const(0))); // a null SS has no attributes
  const at = Reg.SEG + 16 * SegmentIndex.SS;
  s.setField(at, 4, s.or(ss, s.and(present, s.or(dpl, s.const(Attributes.DATA_KERNEL * 0x10000)))));
  s.setField(at + 4, 4, s.and(present, s.const(FLAT_LIMIT)));
  s.setField(at + 8, 8, s.const(0));
  s.setReg(RSP, 8, rsp);
  s.writeFlags(flags);
  const kept = s.and(old, s.const(inverse(IRET_TAKEN | Rflags.RF)));
  s.setField(Reg.RFLAGS, 4, s.or(kept, s.and(flags, s.const(IRET_TAKEN & ~Rflags.OSZAPC))));
  s.setField(Reg.CPL, 4, s.and(cs, s.const(3)));
  s.accessRightsChanged();
  s.jump(rip, "return");
}
