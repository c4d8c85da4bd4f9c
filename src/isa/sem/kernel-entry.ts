/* What kernels do all the time and so is described in full instead of called: PUSHF POPF CLI STI STAC CLAC SWAPGS SYSCALL SYSRET. Their rare cases
 * (faults by IOPL, traps, windows for a waiting interrupt) are the calls of system/rflags.ts and system/fast-calls.ts.
 * @source SDM vol. 2A "CLAC", "CLI"; vol. 2B "POPF", "PUSHF", "STAC", "STI", "SWAPGS", "SYSCALL", "SYSRET" */
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
function setFlat<V>(s: Sem<V>, index: number, selector: V, attributes: number): void {
  const at = Reg.SEG + 16 * index;
  s.setField(at, 4, s.or(s.zext(selector, 2), s.const(attributes * 0x10000)));
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
  setFlat(s, SegmentIndex.CS, selector, Attributes.CODE64_KERNEL);
  setFlat(s, SegmentIndex.SS, s.add(selector, s.const(8)), Attributes.DATA_KERNEL);
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
  setFlat(s, SegmentIndex.CS, s.or(s.add(selector, s.const(16)), s.const(3)), Attributes.CODE64_USER);
  setFlat(s, SegmentIndex.SS, s.or(s.add(selector, s.const(8)), s.const(3)), Attributes.DATA_USER);
  s.setField(Reg.CPL, 4, s.const(3));
  s.accessRightsChanged();
  alignmentMayMatter(s, flags);
  // unlike IRET, SYSRET that sets TF traps itself: Linux arch/x86/entry/entry_64.S, "syscall_return_via_sysret"
  s.when(s.ne(s.and(flags, s.const(Rflags.TF)), s.const(0)), () => s.setField(Reg.PENDING_DEBUG, 4, s.const(DR6_BS)));
  s.when(s.ne(s.and(flags, s.const(Rflags.IF | Rflags.TF)), s.const(0)), () => {
    s.call("interruptsMayBeOpen");
  });
  s.jump(target, "return");
});
