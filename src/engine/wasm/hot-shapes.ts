/* Instructions whose handlers are cases of the run loop instead of functions: one sample encoding of each shape, most frequent first, as counted over a boot of
 * Debian's kernel and the compute programs of bench/. Registers, displacements and immediates of a sample mean nothing. */
export const HOT_SHAPES: readonly string[] = [
  "4889c2", // mov Ev,Gv 8
  "89c7", // mov Ev,Gv 4
  "4801f8", // add Ev,Gv 8
  "488b05fe9cbf01", // mov Gv,Ev 8
  "f3aa", // stosb Yb 1
  "31c0", // xor Ev,Gv 4
  "7506", // jnz Jb 8
  "4839de", // cmp Ev,Gv 8
  "4c0faff2", // imul Gv,Ev 8
  "56", // push Zv 8
  "5b", // pop Zv 8
  "7422", // jz Jb 8
  "4889053c98a101", // mov Ev,Gv 8
  "48c1ea20", // shr Ev,Ib 8
  "448b973c010000", // mov Gv,Ev 4
  "4829d0", // sub Ev,Gv 8
  "f3a4", // movsb Xb 1
  "0f841a010000", // jz Jz 8
  "4883c410", // add Ev,sIb 8
  "0f8526030000", // jnz Jz 8
  "83c134", // add Ev,sIb 4
  "488d04c3", // lea Gv,M 8
  "41890424", // mov Ev,Gv 4
  "400fb6ed", // movzx Gv,Eb 4
  "488d25513fa001", // lea Gv,M 8
  "4863c9", // movsxd Gv,Ed 8
  "01c8", // add Ev,Gv 4
  "c3", // ret  8
  "e8aa070000", // call Jz 8
  "4885ff", // test Ev,Gv 8
  "4585d2", // test Ev,Gv 4
  "458d5501", // lea Gv,M 4
  "4c8b5416f0", // mov Gv,Ev 8
  "eb0b", // jmp Jb 8
  "48ffc5", // inc Ev 8
  "48c1e230", // shl Ev,Ib 8
  "e91903e000", // jmp Jz 8
  "400f92c5", // setb Eb 1
  "b9010100c0", // mov Zv,Iv 4
  "c1ce0c", // ror Ev,Ib 4
  "84d2", // test Eb,Gb 1
  "41c1c010", // rol Ev,Ib 4
  "480f43c3", // cmovnb Gv,Ev 8
  "803d6c428f0100", // cmp Eb,Ib 1
  "0fb603", // movzx Gv,Eb 4
  "21f7", // and Ev,Gv 4
  "4811ce", // adc Ev,Gv 8
  "c1e808", // shr Ev,Ib 4
  "83f801", // cmp Ev,sIb 4
  "448a1e", // mov Gb,Eb 1
  "4883ec20", // sub Ev,sIb 8
  "4883fa04", // cmp Ev,sIb 8
  "39d0", // cmp Ev,Gv 4
  "4881feffffff7f", // cmp Ev,Iz 8
  "6689540500", // mov Ev,Gv 2
  "f348ab", // stos Yv 8
  "83e1fa", // and Ev,sIb 4
  "80fa25", // cmp Eb,Ib 1
  "0f1f440000", // nop Ev 4
  "7302", // jnb Jb 8
  "83ea01", // sub Ev,sIb 4
  "4c0301", // add Gv,Ev 8
  "4233048a", // xor Gv,Ev 4
  "0fb61407", // movzx Gv,Eb 4
  "488914cb", // mov Ev,Gv 8
  "03540500", // add Gv,Ev 4
  "410f42f5", // cmovb Gv,Ev 4
  "664139c5", // cmp Ev,Gv 2
  "66448b5416fe", // mov Gv,Ev 2
  "66050077", // add rAX,Iz 2
  "65488b042528000000", // mov Gv,Ev 8
  "c744240410000000", // mov Ev,Iz 4
  "c1e205", // shl Ev,Ib 4
  "8a1413", // mov Gb,Eb 1
  "3c03", // cmp AL,Ib 1
  "721d", // jb Jb 8
  "79e2", // jns Jb 8
  "0f86ec000000", // jbe Jz 8
  "f6839000000001", // test Eb,Ib 1
  "660fefd8", // pxor Vdq,Wdq 4
  "48c744240800000000", // mov Ev,Iz 8
  "8d0c03", // lea Gv,M 4
  "81e1f0000f00", // and Ev,Iz 4
  "25000ff00f", // and rAX,Iz 4
  "480304dd60eb3982", // add Gv,Ev 8
  "44880c17", // mov Eb,Gb 1
  "4883e0fc", // and Ev,sIb 8
  "4c393424", // cmp Ev,Gv 8
  "7675", // jbe Jb 8
  "8803", // mov Eb,Gb 1
  "ffc9", // dec Ev 4
  "480fbe13", // movsx Gv,Eb 8
  "48833800", // cmp Ev,sIb 8
  "29d9", // sub Ev,Gv 4
  "09f2", // or Ev,Gv 4
  "0f82d2000000", // jb Jz 8
  "66890424", // mov Ev,Gv 2
  "48c7c200000081", // mov Ev,Iz 8
  "7710", // jnbe Jb 8
  "44386b14", // cmp Eb,Gb 1
  "f7d7", // not Ev 4
  "ff0daa9e0a00", // dec Ev 4
  "0f8823030000", // js Jz 8
  "65482b042528000000", // sub Gv,Ev 8
  "483b3d1cad8c01", // cmp Gv,Ev 8
  "0f8f52010000", // jnle Jz 8
  "034f04", // add Gv,Ev 4
  "3a1406", // cmp Gb,Eb 1
  "0500160000", // add rAX,Iz 4
  "4983d400", // adc Ev,sIb 8
  "668b056b2c27ff", // mov Gv,Ev 2
  "660f74e0", // pcmpeqb Vdq,Wdq 4
  "0f876cffffff", // jnbe Jz 8
  "7f0c", // jnle Jb 8
  "7ece", // jle Jb 8
  "0f8337020000", // jnb Jz 8
  "4809d0", // or Ev,Gv 8
  "a804", // test AL,Ib 1
  "f6c410", // test Eb,Ib 1
  "c64424098e", // mov Eb,Ib 1
  "448b5416fc", // mov Gv,Ev 4
  "f30f6f07", // movdqu Vdq,Wdq 4
  "ff25ba0d1e00", // jmp Ev 8
  "660fd7d4", // pmovmskb Gd,Udq 4
  "0f1f00", // nop Ev 4
  "486333", // movsxd Gv,Ed 8
  "49ba6750a10200000000", // mov Zv,Iv 8
  "4881ed00000081", // sub Ev,Iz 8
  "0f95c0", // setnz Eb 1
  "0f8ea6000000", // jle Jz 8
  "39460c", // cmp Ev,Gv 4
  "f7d8", // neg Ev 4
  "403a7101", // cmp Gb,Eb 1
  "7803", // js Jb 8
  "0fb7442408", // movzx Gv,Ew 4
  "4981c300800b83", // add Ev,Iz 8
  "ffc3", // inc Ev 4
  "410f94c6", // setz Eb 1
  "4d2b06", // sub Gv,Ev 8
  "0fbcdd", // bsf Gv,Ev 4
  "83780807", // cmp Ev,sIb 4
  "48f7d2", // not Ev 8
  "4831f7", // xor Ev,Gv 8
  "48f7d8", // neg Ev 8
  "4881e60000e0ff", // and Ev,Iz 8
  "49c1fa30", // sar Ev,Ib 8
  "81fb41757468", // cmp Ev,Iz 4
  "4898", // cbw  8
  "44895417fc", // mov Ev,Gv 4
  "660f70c093", // pshufd Vdq,Wdq,Ib 4
  "48d3e0", // shl Ev,CL 8
  "3d1e000080", // cmp rAX,Iz 4
  "0f45f7", // cmovnz Gv,Ev 4
  "0f1105f09c1d00", // movups Wps,Vps 4
  "0f2900", // movaps Wps,Vps 4
  "19c9", // sbb Ev,Gv 4
  "48f7e2", // mul Ev 8
  "f7c600020000", // test Ev,Iz 4
  "6690", // nop  2
  "0fc8", // bswap Zv 4
  "48630495d8682283", // movsxd Gv,Ed 8
  "c1fb1f", // sar Ev,Ib 4
  "4821c2", // and Ev,Gv 8
  "66440f6fd0", // movdqa Vdq,Wdq 4
  "66440f6ef9", // movd Vdq,Ed 4
  "803c130a", // cmp Eb,Ib 1
  "66410febc8", // por Vdq,Wdq 4
  "f3a5", // movs Xv 4
  "48ffc8", // dec Ev 8
  "48d1fa", // sar Ev,1 8
  "0fb70c77", // movzx Gv,Ew 4
  "ff15ffb79eff", // call Ev 8
  "3b4524", // cmp Gv,Ev 4
  "66480f6ec0", // movq Vdq,Eq 8
  "48833cc5803f1c8300", // cmp Ev,sIb 8
  "660fd605489f1d00", // movq Mq,Vq 4
  "83430401", // add Ev,sIb 4
  "658b1d2545fa7c", // mov Gv,Ev 4
  "385407ff", // cmp Eb,Gb 1
  "4c0f42f0", // cmovb Gv,Ev 8
  "664585d2", // test Ev,Gv 2
  "ffe0", // jmp Ev 8
  "49d1ee", // shr Ev,1 8
  "83c820", // or Ev,sIb 4
  "4889d8", // div Ev 8
  "0f8d33010000", // jnl Jz 8
  "ffd0", // call Ev 8
  "f348a5", // movs Xv 8
  "660f60c0", // punpcklbw Vdq,Wdq 4
  "660f61c0", // punpcklwd Vdq,Wdq 4
  "65ff051cfaf07e", // inc Ev 4
  "66440f6f25a58d2501", // movdqa Vdq,Wdq 4
  "41c0ef06", // shr Eb,Ib 1
  "f644101480", // test Eb,Ib 1
  "65ff0d007a607e", // dec Ev 4
  "490f48cc", // cmovs Gv,Ev 8
  "f20f10442408", // movsd Vdq,Mq 4
  "0fbed2", // movsx Gv,Eb 4
  "662500b0", // and rAX,Iz 2
  "4883f0ff", // xor Ev,sIb 8
  "4883c8ff", // or Ev,sIb 8
  "660f2fc1", // comisd Vsd,Wsd 4
  "483d00f0ffff", // cmp rAX,Iz 8
  "48295310", // sub Ev,Gv 8
  "20d0", // and Eb,Gb 1
  "48d3e8", // shr Ev,CL 8
  "663d8680", // cmp rAX,Iz 2
  "48f7f1", // div Ev 8
  "480500600b03", // add rAX,Iz 8
  "480fbd04d6", // bsr Gv,Ev 8
  "a9ffffff7f", // test rAX,Iz 4
  "4c0fa5c8", // shld Ev,Gv,CL 8
  "d97c2426", // fnstcw Mw 4
  "0f9503", // setnz Eb 1
  "0f8c69010000", // jl Jz 8
  "4438c1", // cmp Eb,Gb 1
  "d3e0", // shl Ev,CL 4
  "f00fb117", // cmpxchg Ev,Gv 4
  "65488905d62cfe7c", // mov Ev,Gv 8
  "8710", // xchg Ev,Gv 4
  "480fadd0", // shrd Ev,Gv,CL 8
  "660f3a63c802", // pcmpistri Vdq,Wdq,Ib 4
  "480f4cf0", // cmovl Gv,Ev 8
  "480f4fc8", // cmovnle Gv,Ev 8
  "7d0f", // jnl Jb 8
  "b001", // mov Zb,Ib 1
  "4819d2", // sbb Ev,Gv 8
  "6448833c2598ffffff00", // cmp Ev,sIb 8
  "4d0fa3d3", // bt Ev,Gv 8
  "66410f3800dc", // pshufb Vdq,Wdq 4
  "6681c6ff03", // add Ev,Iz 2
  "480f46d1", // cmovbe Gv,Ev 8
  "f705f883390101000000", // test Ev,Iz 4
  "66480f7ec0", // movq Eq,Vq 8
  "d3f8", // sar Ev,CL 4
  "ff24d0", // jmp Ev 8
  "480f45c1", // cmovnz Gv,Ev 8
  "0f8921010000", // jns Jz 8
  "0f49c2", // cmovns Gv,Ev 4
  "660f6ce6", // punpcklqdq Vdq,Wdq 4
  "83f101", // xor Ev,sIb 4
  "660f6e2486", // movd Vdq,Ed 4
  "4c0180f00f0000", // add Ev,Gv 8
  "0f44d1", // cmovz Gv,Ev 4
  "f30f6f140e", // movdqu Vdq,Wdq 4
  "f20f11442408", // movsd Wsd,Vsd 4
  "0f1006", // movups Vps,Wps 4
  "9c", // pushf  8
  "0f107c16f0", // movups Vps,Wps 4
  "6548032d6c61fb7e", // add Gv,Ev 8
  "660f1f840000000000", // nop Ev 2
  "80e702", // and Eb,Ib 1
  "0f115417e0", // movups Wps,Vps 4
  "0f4ec2", // cmovle Gv,Ev 4
  "3e0fb117", // cmpxchg Ev,Gv 4
  "f3480fbcd2", // tzcnt Gv,Ev 8
  "4c3b34f560961283", // cmp Gv,Ev 8
  "48c1c70c", // rol Ev,Ib 8
  "480b3d35c69fff", // or Gv,Ev 8
  "90", // nop  4
  "ff05d89e0a00", // inc Ev 4
  "0fbae714", // bt Ev,Ib 4
  "fa", // cli  4
  "644833142530000000", // xor Gv,Ev 8
  "4883042408", // add Ev,sIb 8
  "660ffec4", // paddd Vdq,Wdq 4
  "0f9ec2", // setle Eb 1
  "0f44358828dc01", // cmovz Gv,Ev 4
  "480f44c2", // cmovz Gv,Ev 8
  "0f28050a940600", // movaps Vps,Wps 4
  "2b1509932500", // sub Gv,Ev 4
  "d1f8", // sar Ev,1 4
  "48330cc6", // xor Gv,Ev 8
  "0f4fd0", // cmovnle Gv,Ev 4
  "0f97c0", // setnbe Eb 1
  "7c35", // jl Jb 8
  "482500f0ffff", // and rAX,Iz 8
  "0f9fc0", // setnle Eb 1
  "0f48d0", // cmovs Gv,Ev 4
  "658905566dfe7e", // mov Ev,Gv 4
  "483383b8000000", // xor Gv,Ev 8
  "660f62e5", // punpckldq Vdq,Wdq 4
  "83a81814000001", // sub Ev,sIb 4
  "fb", // sti  4
  "480f4ed1", // cmovle Gv,Ev 8
  "f3ab", // stos Yv 4
  "480fce", // bswap Zv 8
  "0f9444241b", // setz Eb 1
  "015d70", // add Ev,Gv 4
  "43c6041100", // mov Eb,Ib 1
  "658a02", // mov Gb,Eb 1
  "4883deff", // sbb Ev,sIb 8
  "0f93c0", // setnb Eb 1
  "d3ed", // shr Ev,CL 4
  "480fba70c00c", // btr Ev,Ib 8
  "0f4cc2", // cmovl Gv,Ev 4
  "0fba64240c0a", // bt Ev,Ib 4
  "84542407", // test Eb,Gb 1
  "2047ff", // and Eb,Gb 1
  "440f4de2", // cmovnl Gv,Ev 4
  "f20f59d5", // mulsd Vsd,Wsd 4
  "660f7ec0", // movd Ed,Vd 4
  "660f28c4", // movapd Vpd,Wpd 4
  "f20f58c8", // addsd Vsd,Wsd 4
  "48f727", // mul Ev 8
  "f2410f10041f", // movsd Vdq,Mq 4
  "f20f5cca", // subsd Vsd,Wsd 4
  "f20f110416", // movsd Wsd,Vsd 4
  "660f59c1", // mulpd Vpd,Wpd 4
  "660f6ac0", // punpckhdq Vdq,Wdq 4
  "0f290402", // movaps Wps,Vps 4
  "660f280401", // movapd Vpd,Wpd 4
  "660f580402", // addpd Vpd,Wpd 4
  "49f77728", // div Ev 8
  "660f72d10c", // psrld Udq,Ib 4
  "660fdbc8", // pand Vdq,Wdq 4
  "f20f5842f8", // addsd Vsd,Wsd 4
  "80cc01", // or Eb,Ib 1
  "480f44442428", // cmovz Gv,Ev 8
  "660fef1d4c8d2501", // pxor Vdq,Wdq 4
  "f20f5c441d00", // subsd Vsd,Wsd 4
  "48135c24a0", // adc Gv,Ev 8
  "660f740f", // pcmpeqb Vdq,Wdq 4
  "834b5402", // or Ev,sIb 4
  "44328f8b010000", // xor Gb,Eb 1
  "450fb7f5", // movzx Gv,Ew 4
  "6683f8ff", // cmp Ev,sIb 2
  "f20f58441500", // addsd Vsd,Wsd 4
  "480fbae039", // bt Ev,Ib 8
  "3342e0", // xor Gv,Ev 4
  "660fda4050", // pminub Vdq,Wdq 4
  "48cf", // iret  8
  "480fbec0", // movsx Gv,Eb 8
  "654c012d56a9d47e", // add Ev,Gv 8
  "482d00000081", // sub rAX,Iz 8
  "817b2006000080", // cmp Ev,Iz 4
  "48f7c79fffffff", // test Ev,Iz 8
  "6859010081", // push Iz 8
  "8cd0", // mov Ev/Mw,SS 4
  "8cc8", // mov Ev/Mw,CS 4
];

/** The same for what native code leaves to the interpreter while Linux boots, in the order in which it is met: handlers in a module of their own (as each would be when it is met, which
 *  takes twice as long). Counted over boots of Mere's kernel and of Debian's. */
export const BOOT_SHAPES: readonly string[] = [
  "0f30", // wrmsr 4
  "56", // push Zv 8
  "0f0115651bc100", // lgdt M 4
  "8ed8", // mov DS,Ew 4
  "8ed0", // mov SS,Ew 4
  "8ec0", // mov ES,Ew 4
  "0f0118", // lidt M 4
  "48cb", // retf 8
  "9d", // popf 8
  "0fa2", // cpuid 4
  "0f32", // rdmsr 4
  "488981f80f0000", // mov Ev,Gv 8
  "8b06", // mov Gv,Ev 4
  "4a8934d0", // mov Ev,Gv 8
  "0f22e1", // mov CR4,Rq 8
  "0f22d8", // mov CR3,Rq 8
  "0f20e1", // mov Rq,CR4 8
  "8ee0", // mov FS,Ew 4
  "8ee8", // mov GS,Ew 4
  "0f22c0", // mov CR0,Rq 8
  "f3aa", // stosb Yb 1
  "fc", // cld 4
  "0f20d7", // mov Rq,CR2 8
  "0f20d9", // mov Rq,CR3 8
  "48cf", // iret 8
  "48c7009d6eac57", // mov Ev,Iz 8
  "834b5402", // or Ev,sIb 4
  "488b13", // mov Gv,Ev 8
  "f3a4", // movsb Xb 1
  "0f013f", // invlpg M 4
  "ef", // out DX,eAX 4
  "66ed", // in eAX,DX 2
  "f3a5", // movs Xv 4
  "480fc7f8", // rdseed Rv 8
  "668b03", // mov Gv,Ev 2
  "660f38820424", // invpcid Gq,Mdq 8
  "ed", // in eAX,DX 4
  "f3ab", // stos Yv 4
  "c7473401000000", // mov Ev,Iz 4
  "8930", // mov Ev,Gv 4
  "0f01442406", // sgdt M 4
  "0f00d8", // ltr Ew 4
  "0f00d3", // lldt Ew 4
  "0f23c0", // mov DR0,Rq 8
  "0f23c8", // mov DR1,Rq 8
  "0f23d0", // mov DR2,Rq 8
  "0f23d8", // mov DR3,Rq 8
  "0f23f0", // mov DR6,Rq 8
  "0f23f8", // mov DR7,Rq 8
  "f04801860084c081", // add Ev,Gv 8
  "00ef", // add Eb,Gb 1
  "48833d772ffbff00", // cmp Ev,sIb 8
  "ee", // out DX,AL 1
  "480fc7f2", // rdrand Rv 8
  "0f20c7", // mov Rq,CR0 8
  "0fae05b1870700", // fxsave M 4
  "0f01d1", // xsetbv 4
  "480fae2f", // xrstor64 M 8
  "480fae059cf0dfff", // fxsave64 M 8
  "cc", // int3 4
  "0fb653f9", // movzx Gv,Eb 4
  "8f442420", // pop Ev 8
  "483907", // cmp Ev,Gv 8
  "4ac7042000000000", // mov Ev,Iz 8
  "c6400300", // mov Eb,Ib 1
  "ec", // in AL,DX 1
  "66894502", // mov Ev,Gv 2
  "fb", // sti 4
  "c3", // ret 8
  "893c0e", // mov Ev,Gv 4
  "488b441d06", // mov Gv,Ev 8
  "bdffffffff", // mov Zv,Iv 4
  "f348ab", // stos Yv 8
  "808d0203000010", // or Eb,Ib 1
  "0f01d0", // xgetbv 4
  "480fae27", // xsave64 M 8
  "f30f6f4608", // movdqu Vdq,Wdq 4
  "5b", // pop Zv 8
  "48034310", // add Gv,Ev 8
  "9b", // fwait 4
  "483330", // xor Gv,Ev 8
  "418a4510", // mov Gb,Eb 1
  "f4", // hlt 4
  "8883dd000000", // mov Eb,Gb 1
  "0f11442418", // movups Wps,Vps 4
  "65488b042528000000", // mov Gv,Ev 8
  "f0ff053200ba01", // inc Ev 4
  "813969424654", // cmp Ev,Iz 4
  "86e0", // xchg Eb,Gb 1
  "44880c17", // mov Eb,Gb 1
  "803d8baf120000", // cmp Eb,Ib 1
  "390f", // cmp Ev,Gv 4
  "4d0fa3d3", // bt Ev,Gv 8
  "6642895415fe", // mov Ev,Gv 2
  "418b4c17fc", // mov Gv,Ev 4
  "0f1f440000", // nop Ev 4
  "3e480fb13cf50030c482", // cmpxchg Ev,Gv 8
  "ff00", // inc Ev 4
];

/** Pairs of them that often follow each other and get a handler together, so that one dispatch does for both. The first must not write memory. */
export const HOT_PAIRS: readonly string[] = [
  "4889c2 89c7", // mov Ev,Gv 8 / mov Ev,Gv 4
  "4801f8 4839de", // add Ev,Gv 8 / cmp Ev,Gv 8
  "4c0faff2 4c0faff2", // imul Gv,Ev 8 / imul Gv,Ev 8
  "89c7 48c1ea20", // mov Ev,Gv 4 / shr Ev,Ib 8
  "4c0faff2 4889c2", // imul Gv,Ev 8 / mov Ev,Gv 8
  "4889c2 4c0faff2", // mov Ev,Gv 8 / imul Gv,Ev 8
  "5b 5b", // pop Zv 8 / pop Zv 8
  "4801f8 4801f8", // add Ev,Gv 8 / add Ev,Gv 8
  "4863c9 4829d0", // movsxd Gv,Ed 8 / sub Ev,Gv 8
  "4889c2 4801f8", // mov Ev,Gv 8 / add Ev,Gv 8
  "4801f8 4889c2", // add Ev,Gv 8 / mov Ev,Gv 8
  "48c1e230 4801f8", // shl Ev,Ib 8 / add Ev,Gv 8
  "4839de 4889c2", // cmp Ev,Gv 8 / mov Ev,Gv 8
  "48c1ea20 4801f8", // shr Ev,Ib 8 / add Ev,Gv 8
  "4889c2 480f43c3", // mov Ev,Gv 8 / cmovnb Gv,Ev 8
  "48c1ea20 4889c2", // shr Ev,Ib 8 / mov Ev,Gv 8
  "4829d0 4c8b5416f0", // sub Ev,Gv 8 / mov Gv,Ev 8
  "4801f8 48c1e230", // add Ev,Gv 8 / shl Ev,Ib 8
  "480f43c3 4801f8", // cmovnb Gv,Ev 8 / add Ev,Gv 8
  "4801f8 83c134", // add Ev,Gv 8 / add Ev,sIb 4
  "488d04c3 4889c2", // lea Gv,M 8 / mov Ev,Gv 8
  "4839de 400f92c5", // cmp Ev,Gv 8 / setb Eb 1
  "4801f8 48c1ea20", // add Ev,Gv 8 / shr Ev,Ib 8
  "4c8b5416f0 488d04c3", // mov Gv,Ev 8 / lea Gv,M 8
  "400f92c5 4801f8", // setb Eb 1 / add Ev,Gv 8
  "4811ce 4889053c98a101", // adc Ev,Gv 8 / mov Ev,Gv 8
  "5b c3", // pop Zv 8 / ret  8
  "4889c2 4889c2", // mov Ev,Gv 8 / mov Ev,Gv 8
  "488b05fe9cbf01 400fb6ed", // mov Gv,Ev 8 / movzx Gv,Eb 4
  "48c1ea20 488b05fe9cbf01", // shr Ev,Ib 8 / mov Gv,Ev 8
  "4829d0 4811ce", // sub Ev,Gv 8 / adc Ev,Gv 8
  "83c134 0f8526030000", // add Ev,sIb 4 / jnz Jz 8
  "400fb6ed 4829d0", // movzx Gv,Eb 4 / sub Ev,Gv 8
  "31c0 89c7", // xor Ev,Gv 4 / mov Ev,Gv 4
  "4889c2 56", // mov Ev,Gv 8 / push Zv 8
  "83c134 7506", // add Ev,sIb 4 / jnz Jb 8
  "89c7 89c7", // mov Ev,Gv 4 / mov Ev,Gv 4
  "4889c2 e8aa070000", // mov Ev,Gv 8 / call Jz 8
  "488b05fe9cbf01 488b05fe9cbf01", // mov Gv,Ev 8 / mov Gv,Ev 8
  "01c8 89c7", // add Ev,Gv 4 / mov Ev,Gv 4
  "48c1ea20 400fb6ed", // shr Ev,Ib 8 / movzx Gv,Eb 4
  "0fb603 84d2", // movzx Gv,Eb 4 / test Eb,Gb 1
  "4885ff 0f841a010000", // test Ev,Gv 8 / jz Jz 8
  "400fb6ed 4c0301", // movzx Gv,Eb 4 / add Gv,Ev 8
  "4c0301 4811ce", // add Gv,Ev 8 / adc Ev,Gv 8
  "4885ff 7422", // test Ev,Gv 8 / jz Jb 8
  "84d2 7422", // test Eb,Gb 1 / jz Jb 8
  "803d6c428f0100 7506", // cmp Eb,Ib 1 / jnz Jb 8
  "89c7 01c8", // mov Ev,Gv 4 / add Ev,Gv 4
  "39d0 7506", // cmp Ev,Gv 4 / jnz Jb 8
  "4839de 7506", // cmp Ev,Gv 8 / jnz Jb 8
  "4889c2 5b", // mov Ev,Gv 8 / pop Zv 8
  "488b05fe9cbf01 4889c2", // mov Gv,Ev 8 / mov Ev,Gv 8
  "4863c9 4801f8", // movsxd Gv,Ed 8 / add Ev,Gv 8
  "83c134 4863c9", // add Ev,sIb 4 / movsxd Gv,Ed 8
  "84d2 79e2", // test Eb,Gb 1 / jns Jb 8
  "448b973c010000 448b973c010000", // mov Gv,Ev 4 / mov Gv,Ev 4
  "4801f8 39d0", // add Ev,Gv 8 / cmp Ev,Gv 4
  "83c134 83c134", // add Ev,sIb 4 / add Ev,sIb 4
  "4585d2 7422", // test Ev,Gv 4 / jz Jb 8
  "4883c410 5b", // add Ev,sIb 8 / pop Zv 8
  "41c1c010 31c0", // rol Ev,Ib 4 / xor Ev,Gv 4
  "4839de 7422", // cmp Ev,Gv 8 / jz Jb 8
  "89c7 41c1c010", // mov Ev,Gv 4 / rol Ev,Ib 4
  "65488b042528000000 4889053c98a101", // mov Gv,Ev 8 / mov Ev,Gv 8
  "4839de 7302", // cmp Ev,Gv 8 / jnb Jb 8
  "488b05fe9cbf01 65482b042528000000", // mov Gv,Ev 8 / sub Gv,Ev 8
  "4829d0 31c0", // sub Ev,Gv 8 / xor Ev,Gv 4
  "4883c410 4839de", // add Ev,sIb 8 / cmp Ev,Gv 8
  "448b973c010000 25000ff00f", // mov Gv,Ev 4 / and rAX,Iz 4
  "21f7 31c0", // and Ev,Gv 4 / xor Ev,Gv 4
  "89c7 56", // mov Ev,Gv 4 / push Zv 8
  "89c7 31c0", // mov Ev,Gv 4 / xor Ev,Gv 4
  "448b973c010000 488b05fe9cbf01", // mov Gv,Ev 4 / mov Gv,Ev 8
  "89c7 c1ce0c", // mov Ev,Gv 4 / ror Ev,Ib 4
  "f6839000000001 7506", // test Eb,Ib 1 / jnz Jb 8
  "89c7 4889c2", // mov Ev,Gv 4 / mov Ev,Gv 8
  "4889c2 488914cb", // mov Ev,Gv 8 / mov Ev,Gv 8
  "480304dd60eb3982 400f92c5", // add Gv,Ev 8 / setb Eb 1
  "4983d400 83c134", // adc Ev,sIb 8 / add Ev,sIb 4
  "4585d2 0f8526030000", // test Ev,Gv 4 / jnz Jz 8
  "0fba64240c0a 721d", // bt Ev,Ib 4 / jb Jb 8
  "488b05fe9cbf01 4885ff", // mov Gv,Ev 8 / test Ev,Gv 8
  "0fb603 4883c410", // movzx Gv,Eb 4 / add Ev,sIb 8
  "4889c2 488b05fe9cbf01", // mov Ev,Gv 8 / mov Gv,Ev 8
  "4883c410 84d2", // add Ev,sIb 8 / test Eb,Gb 1
  "4829d0 4889c2", // sub Ev,Gv 8 / mov Ev,Gv 8
  "488b05fe9cbf01 4889053c98a101", // mov Gv,Ev 8 / mov Ev,Gv 8
  "488b05fe9cbf01 488d25513fa001", // mov Gv,Ev 8 / lea Gv,M 8
  "4885ff 7506", // test Ev,Gv 8 / jnz Jb 8
  "84d2 7506", // test Eb,Gb 1 / jnz Jb 8
  "c1ce0c c1ce0c", // ror Ev,Ib 4 / ror Ev,Ib 4
  "4889c2 48c1ea20", // mov Ev,Gv 8 / shr Ev,Ib 8
  "4889c2 4829d0", // mov Ev,Gv 8 / sub Ev,Gv 8
  "488b05fe9cbf01 e8aa070000", // mov Gv,Ev 8 / call Jz 8
  "4839de 0f82d2000000", // cmp Ev,Gv 8 / jb Jz 8
  "4889c2 4883ec20", // mov Ev,Gv 8 / sub Ev,sIb 8
  "4889c2 31c0", // mov Ev,Gv 8 / xor Ev,Gv 4
  "c1ce0c 31c0", // ror Ev,Ib 4 / xor Ev,Gv 4
  "89c7 c1e808", // mov Ev,Gv 4 / shr Ev,Ib 4
  "0f1f440000 56", // nop Ev 4 / push Zv 8
  "48ffc5 803d6c428f0100", // inc Ev 8 / cmp Eb,Ib 1
  "4585d2 7506", // test Ev,Gv 4 / jnz Jb 8
  "458d5501 41890424", // lea Gv,M 4 / mov Ev,Gv 4
  "5b 4889c2", // pop Zv 8 / mov Ev,Gv 8
  "5b e91903e000", // pop Zv 8 / jmp Jz 8
  "448b973c010000 458d5501", // mov Gv,Ev 4 / lea Gv,M 4
  "448b973c010000 4585d2", // mov Gv,Ev 4 / test Ev,Gv 4
  "4883c410 4889c2", // add Ev,sIb 8 / mov Ev,Gv 8
  "31c0 4889c2", // xor Ev,Gv 4 / mov Ev,Gv 8
  "83f801 7506", // cmp Ev,sIb 4 / jnz Jb 8
  "4881feffffff7f 7506", // cmp Ev,Iz 8 / jnz Jb 8
  "448a1e 48ffc5", // mov Gb,Eb 1 / inc Ev 8
  "488d25513fa001 4889c2", // lea Gv,M 8 / mov Ev,Gv 8
  "400fb6ed 4233048a", // movzx Gv,Eb 4 / xor Gv,Ev 4
  "400fb6ed f6839000000001", // movzx Gv,Eb 4 / test Eb,Ib 1
  "c1e808 400fb6ed", // shr Ev,Ib 4 / movzx Gv,Eb 4
  "31c0 c1e808", // xor Ev,Gv 4 / shr Ev,Ib 4
  "48ffc5 31c0", // inc Ev 8 / xor Ev,Gv 4
  "4233048a eb0b", // xor Gv,Ev 4 / jmp Jb 8
  "31c0 31c0", // xor Ev,Gv 4 / xor Ev,Gv 4
  "3c03 0f841a010000", // cmp AL,Ib 1 / jz Jz 8
  "b9010100c0 664139c5", // mov Zv,Iv 4 / cmp Ev,Gv 2
  "410f42f5 66050077", // cmovb Gv,Ev 4 / add rAX,Iz 2
  "664139c5 410f42f5", // cmp Ev,Gv 2 / cmovb Gv,Ev 4
  "66448b5416fe b9010100c0", // mov Gv,Ev 2 / mov Zv,Iv 4
  "66050077 6689540500", // add rAX,Iz 2 / mov Ev,Gv 2
  "31c0 480304dd60eb3982", // xor Ev,Gv 4 / add Gv,Ev 8
  "480304dd60eb3982 4889c2", // add Gv,Ev 8 / mov Ev,Gv 8
  "4889c2 4883c410", // mov Ev,Gv 8 / add Ev,sIb 8
  "400f92c5 480304dd60eb3982", // setb Eb 1 / add Gv,Ev 8
  "4883fa04 7422", // cmp Ev,sIb 8 / jz Jb 8
  "31c0 4889053c98a101", // xor Ev,Gv 4 / mov Ev,Gv 8
  "4889c2 4885ff", // mov Ev,Gv 8 / test Ev,Gv 8
  "ffc9 7803", // dec Ev 4 / js Jb 8
  "4839de 721d", // cmp Ev,Gv 8 / jb Jb 8
  "83f801 0f841a010000", // cmp Ev,sIb 4 / jz Jz 8
  "4889c2 4839de", // mov Ev,Gv 8 / cmp Ev,Gv 8
  "4883fa04 7675", // cmp Ev,sIb 8 / jbe Jb 8
  "31c0 eb0b", // xor Ev,Gv 4 / jmp Jb 8
  "4839de 0f841a010000", // cmp Ev,Gv 8 / jz Jz 8
  "488d25513fa001 4889053c98a101", // lea Gv,M 8 / mov Ev,Gv 8
  "4883ec20 488b05fe9cbf01", // sub Ev,sIb 8 / mov Gv,Ev 8
  "31c0 21f7", // xor Ev,Gv 4 / and Ev,Gv 4
  "4839de 0f8526030000", // cmp Ev,Gv 8 / jnz Jz 8
  "65482b042528000000 0f8526030000", // sub Gv,Ev 8 / jnz Jz 8
  "3c03 0f8526030000", // cmp AL,Ib 1 / jnz Jz 8
  "4883c410 803d6c428f0100", // add Ev,sIb 8 / cmp Eb,Ib 1
  "89c7 21f7", // mov Ev,Gv 4 / and Ev,Gv 4
  "b9010100c0 e8aa070000", // mov Zv,Iv 4 / call Jz 8
  "4883c410 e8aa070000", // add Ev,sIb 8 / call Jz 8
  "31c0 01c8", // xor Ev,Gv 4 / add Ev,Gv 4
  "458d5501 80fa25", // lea Gv,M 4 / cmp Eb,Ib 1
  "4585d2 0f841a010000", // test Ev,Gv 4 / jz Jz 8
  "3a1406 7422", // cmp Gb,Eb 1 / jz Jb 8
  "0fb61407 3a1406", // movzx Gv,Eb 4 / cmp Gb,Eb 1
  "4889c2 0fba64240c0a", // mov Ev,Gv 8 / bt Ev,Ib 4
  "488d25513fa001 48c1ea20", // lea Gv,M 8 / shr Ev,Ib 8
  "83f801 0f876cffffff", // cmp Ev,sIb 4 / jnbe Jz 8
  "448b973c010000 4889053c98a101", // mov Gv,Ev 4 / mov Ev,Gv 8
  "3d1e000080 7710", // cmp rAX,Iz 4 / jnbe Jb 8
  "4863c9 56", // movsxd Gv,Ed 8 / push Zv 8
  "31c0 4c8b5416f0", // xor Ev,Gv 4 / mov Gv,Ev 8
  "448b973c010000 034f04", // mov Gv,Ev 4 / add Gv,Ev 4
  "31c0 e8aa070000", // xor Ev,Gv 4 / call Jz 8
  "83f801 7422", // cmp Ev,sIb 4 / jz Jb 8
  "400f92c5 4829d0", // setb Eb 1 / sub Ev,Gv 8
  "f6c410 0f8526030000", // test Eb,Ib 1 / jnz Jz 8
  "89c7 25000ff00f", // mov Ev,Gv 4 / and rAX,Iz 4
  "4c8b5416f0 480304dd60eb3982", // mov Gv,Ev 8 / add Gv,Ev 8
  "89c7 e91903e000", // mov Ev,Gv 4 / jmp Jz 8
  "21f7 09f2", // and Ev,Gv 4 / or Ev,Gv 4
  "25000ff00f 83f801", // and rAX,Iz 4 / cmp Ev,sIb 4
  "488b05fe9cbf01 448b973c010000", // mov Gv,Ev 8 / mov Gv,Ev 4
  "803d6c428f0100 7422", // cmp Eb,Ib 1 / jz Jb 8
  "4889c2 b9010100c0", // mov Ev,Gv 8 / mov Zv,Iv 4
  "803d6c428f0100 0f841a010000", // cmp Eb,Ib 1 / jz Jz 8
  "c1ce0c 01c8", // ror Ev,Ib 4 / add Ev,Gv 4
  "4889c2 4883e0fc", // mov Ev,Gv 8 / and Ev,sIb 8
  "a804 7506", // test AL,Ib 1 / jnz Jb 8
  "31c0 56", // xor Ev,Gv 4 / push Zv 8
  "89c7 83e1fa", // mov Ev,Gv 4 / and Ev,sIb 4
  "488b05fe9cbf01 4839de", // mov Gv,Ev 8 / cmp Ev,Gv 8
  "31c0 448b973c010000", // xor Ev,Gv 4 / mov Gv,Ev 4
  "4883ec20 65488b042528000000", // sub Ev,sIb 8 / mov Gv,Ev 8
  "4885ff 0f8526030000", // test Ev,Gv 8 / jnz Jz 8
  "488b05fe9cbf01 31c0", // mov Gv,Ev 8 / xor Ev,Gv 4
  "0fb70c77 4889c2", // movzx Gv,Ew 4 / mov Ev,Gv 8
  "488b05fe9cbf01 b9010100c0", // mov Gv,Ev 8 / mov Zv,Iv 4
  "488b05fe9cbf01 eb0b", // mov Gv,Ev 8 / jmp Jb 8
  "4839de 0f8337020000", // cmp Ev,Gv 8 / jnb Jz 8
  "65482b042528000000 7422", // sub Gv,Ev 8 / jz Jb 8
  "a804 0f8526030000", // test AL,Ib 1 / jnz Jz 8
  "4883c410 89c7", // add Ev,sIb 8 / mov Ev,Gv 4
  "89c7 e8aa070000", // mov Ev,Gv 4 / call Jz 8
  "4889c2 4881ed00000081", // mov Ev,Gv 8 / sub Ev,Iz 8
  "486333 4801f8", // movsxd Gv,Ed 8 / add Ev,Gv 8
  "4885ff 0f8823030000", // test Ev,Gv 8 / js Jz 8
  "486333 486333", // movsxd Gv,Ed 8 / movsxd Gv,Ed 8
  "4c0faff2 4801f8", // imul Gv,Ev 8 / add Ev,Gv 8
  "486333 480500600b03", // movsxd Gv,Ed 8 / add rAX,Iz 8
  "4883c410 4c0faff2", // add Ev,sIb 8 / imul Gv,Ev 8
  "480500600b03 4883c410", // add rAX,Iz 8 / add Ev,sIb 8
  "4801f8 4811ce", // add Ev,Gv 8 / adc Ev,Gv 8
  "31c0 4801f8", // xor Ev,Gv 4 / add Ev,Gv 8
  "4883c410 4883c410", // add Ev,sIb 8 / add Ev,sIb 8
  "4889c2 48c1e230", // mov Ev,Gv 8 / shl Ev,Ib 8
  "4831f7 4889c2", // xor Ev,Gv 8 / mov Ev,Gv 8
  "31c0 4839de", // xor Ev,Gv 4 / cmp Ev,Gv 8
  "4889c2 48f727", // mov Ev,Gv 8 / mul Ev 8
  "4811ce 4801f8", // adc Ev,Gv 8 / add Ev,Gv 8
  "48f727 488b05fe9cbf01", // mul Ev 8 / mov Gv,Ev 8
  "48c1e230 4831f7", // shl Ev,Ib 8 / xor Ev,Gv 8
  "4883c410 483d00f0ffff", // add Ev,sIb 8 / cmp rAX,Iz 8
  "4883c410 4889053c98a101", // add Ev,sIb 8 / mov Ev,Gv 8
  "4801f8 488b05fe9cbf01", // add Ev,Gv 8 / mov Gv,Ev 8
  "4883c410 8803", // add Ev,sIb 8 / mov Eb,Gb 1
  "4438143a 7422", // cmp Eb,Gb 1 / jz Jb 8
  "0fb61407 4438143a", // movzx Gv,Eb 4 / cmp Eb,Gb 1
  "39d0 721d", // cmp Ev,Gv 4 / jb Jb 8
  "66440f6ef9 660f62e5", // movd Vdq,Ed 4 / punpckldq Vdq,Wdq 4
  "4883fa04 7506", // cmp Ev,sIb 8 / jnz Jb 8
  "660f28c4 f20f59d5", // movapd Vpd,Wpd 4 / mulsd Vsd,Wsd 4
  "660f70c093 660f7ec0", // pshufd Vdq,Wdq,Ib 4 / movd Ed,Vd 4
  "448b973c010000 83f801", // mov Gv,Ev 4 / cmp Ev,sIb 4
  "4801f8 48d1fa", // add Ev,Gv 8 / sar Ev,1 8
  "488d04c3 486333", // lea Gv,M 8 / movsxd Gv,Ed 8
  "49c1fa30 4801f8", // sar Ev,Ib 8 / add Ev,Gv 8
  "48c1ea20 49c1fa30", // shr Ev,Ib 8 / sar Ev,Ib 8
  "48d1fa 488d04c3", // sar Ev,1 8 / lea Gv,M 8
  "0f1f440000 4889c2", // nop Ev 4 / mov Ev,Gv 8
  "0fb603 e91903e000", // movzx Gv,Eb 4 / jmp Jz 8
  "4c8b5416f0 4889c2", // mov Gv,Ev 8 / mov Ev,Gv 8
  "660f62e5 660f6ce6", // punpckldq Vdq,Wdq 4 / punpcklqdq Vdq,Wdq 4
  "4883c410 0fb603", // add Ev,sIb 8 / movzx Gv,Eb 4
  "83c134 41890424", // add Ev,sIb 4 / mov Ev,Gv 4
  "83f801 7ece", // cmp Ev,sIb 4 / jle Jb 8
  "39460c 7302", // cmp Ev,Gv 4 / jnb Jb 8
  "400fb6ed 4801f8", // movzx Gv,Eb 4 / add Ev,Gv 8
  "4839de 488914cb", // cmp Ev,Gv 8 / mov Ev,Gv 8
  "400f92c5 48c1ea20", // setb Eb 1 / shr Ev,Ib 8
  "39d0 7302", // cmp Ev,Gv 4 / jnb Jb 8
  "448b973c010000 4889c2", // mov Gv,Ev 4 / mov Ev,Gv 8
  "4863c9 48c1e230", // movsxd Gv,Ed 8 / shl Ev,Ib 8
  "4889c2 0fb603", // mov Ev,Gv 8 / movzx Gv,Eb 4
  "48c1ea20 4831f7", // shr Ev,Ib 8 / xor Ev,Gv 8
  "483d00f0ffff 7506", // cmp rAX,Iz 8 / jnz Jb 8
  "660f6e2486 66440f6ef9", // movd Vdq,Ed 4 / movd Vdq,Ed 4
  "660f7ec0 660f6e2486", // movd Ed,Vd 4 / movd Vdq,Ed 4
  "660f7ec0 660f7ec0", // movd Ed,Vd 4 / movd Ed,Vd 4
  "4809d0 4839de", // or Ev,Gv 8 / cmp Ev,Gv 8
  "660f280401 660f59c1", // movapd Vpd,Wpd 4 / mulpd Vpd,Wpd 4
  "660f7ec0 66440f6fd0", // movd Ed,Vd 4 / movdqa Vdq,Wdq 4
  "4883c410 f6839000000001", // add Ev,sIb 8 / test Eb,Ib 1
  "4811ce 4883c410", // adc Ev,Gv 8 / add Ev,sIb 8
  "4c0301 4839de", // add Gv,Ev 8 / cmp Ev,Gv 8
  "488b05fe9cbf01 83c134", // mov Gv,Ev 8 / add Ev,sIb 4
  "4883fa04 7710", // cmp Ev,sIb 8 / jnbe Jb 8
  "4585d2 79e2", // test Ev,Gv 4 / jns Jb 8
  "4c8b5416f0 4885ff", // mov Gv,Ev 8 / test Ev,Gv 8
  "4889c2 488d04c3", // mov Ev,Gv 8 / lea Gv,M 8
  "488b05fe9cbf01 4883fa04", // mov Gv,Ev 8 / cmp Ev,sIb 8
  "488d25513fa001 4839de", // lea Gv,M 8 / cmp Ev,Gv 8
  "0fb61407 84d2", // movzx Gv,Eb 4 / test Eb,Gb 1
  "48f7d2 4c0301", // not Ev 8 / add Gv,Ev 8
  "4881feffffff7f 7422", // cmp Ev,Iz 8 / jz Jb 8
  "660f28c4 660f28c4", // movapd Vpd,Wpd 4 / movapd Vpd,Wpd 4
  "f7d8 4889c2", // neg Ev 4 / mov Ev,Gv 8
  "0f1f440000 f7d8", // nop Ev 4 / neg Ev 4
  "49ba6750a10200000000 eb0b", // mov Zv,Iv 8 / jmp Jb 8
  "48c1ea20 4863c9", // shr Ev,Ib 8 / movsxd Gv,Ed 8
  "f7d8 56", // neg Ev 4 / push Zv 8
  "4883ec20 4883c410", // sub Ev,sIb 8 / add Ev,sIb 8
  "4883c410 488914cb", // add Ev,sIb 8 / mov Ev,Gv 8
  "4438143a 0f8526030000", // cmp Eb,Gb 1 / jnz Jz 8
  "f2410f10041f f2410f10041f", // movsd Vdq,Mq 4 / movsd Vdq,Mq 4
  "89c7 4863c9", // mov Ev,Gv 4 / movsxd Gv,Ed 8
  "0fb61407 4883c410", // movzx Gv,Eb 4 / add Ev,sIb 8
  "483d00f0ffff 7422", // cmp rAX,Iz 8 / jz Jb 8
  "4801f8 4889053c98a101", // add Ev,Gv 8 / mov Ev,Gv 8
  "4889c2 eb0b", // mov Ev,Gv 8 / jmp Jb 8
  "80cc01 41890424", // or Eb,Ib 1 / mov Ev,Gv 4
  "25000ff00f 80cc01", // and rAX,Iz 4 / or Eb,Ib 1
  "4a63740340 4585d2", // movsxd Gv,Ed 8 / test Ev,Gv 4
  "4863c9 4a63740340", // movsxd Gv,Ed 8 / movsxd Gv,Ed 8
  "4801f8 4438143a", // add Ev,Gv 8 / cmp Eb,Gb 1
  "4863c9 448a1e", // movsxd Gv,Ed 8 / mov Gb,Eb 1
  "448a1e 4801f8", // mov Gb,Eb 1 / add Ev,Gv 8
  "81e1f0000f00 0fb70c77", // and Ev,Iz 4 / movzx Gv,Ew 4
  "0fb70c77 39460c", // movzx Gv,Ew 4 / cmp Ev,Gv 4
  "31c0 5b", // xor Ev,Gv 4 / pop Zv 8
  "488b05fe9cbf01 89c7", // mov Gv,Ev 8 / mov Ev,Gv 4
  "ffc9 0f8526030000", // dec Ev 4 / jnz Jz 8
  "4829d0 4883fa04", // sub Ev,Gv 8 / cmp Ev,sIb 8
  "448b4416fc 660f6e2486", // mov Gv,Ev 4 / movd Vdq,Ed 4
  "448b4416fc 660f7ec0", // mov Gv,Ev 4 / movd Ed,Vd 4
  "660f70c093 448b4416fc", // pshufd Vdq,Wdq,Ib 4 / mov Gv,Ev 4
  "66440f6fd0 660f6ac0", // movdqa Vdq,Wdq 4 / punpckhdq Vdq,Wdq 4
  "660f62e5 66440f6ef9", // punpckldq Vdq,Wdq 4 / movd Vdq,Ed 4
  "660f6ac0 660f70c093", // punpckhdq Vdq,Wdq 4 / pshufd Vdq,Wdq,Ib 4
  "4839de 490f42c1", // cmp Ev,Gv 8 / cmovb Gv,Ev 8
  "4889c2 83e1fa", // mov Ev,Gv 8 / and Ev,sIb 4
  "8d0c03 89c7", // lea Gv,M 4 / mov Ev,Gv 4
  "01c8 41890424", // add Ev,Gv 4 / mov Ev,Gv 4
  "488b05fe9cbf01 4801f8", // mov Gv,Ev 8 / add Ev,Gv 8
  "89c7 29d9", // mov Ev,Gv 4 / sub Ev,Gv 4
  "488d04c3 488d04c3", // lea Gv,M 8 / lea Gv,M 8
  "83f801 0f86ec000000", // cmp Ev,sIb 4 / jbe Jz 8
  "49d1ee 4801f8", // shr Ev,1 8 / add Ev,Gv 8
  "448b973c010000 39d0", // mov Gv,Ev 4 / cmp Ev,Gv 4
  "480f43c3 4889c2", // cmovnb Gv,Ev 8 / mov Ev,Gv 8
  "4c393424 7506", // cmp Ev,Gv 8 / jnz Jb 8
  "4801f8 4863c9", // add Ev,Gv 8 / movsxd Gv,Ed 8
  "490f42c1 480f43c3", // cmovb Gv,Ev 8 / cmovnb Gv,Ev 8
  "31c0 8d0c03", // xor Ev,Gv 4 / lea Gv,M 4
  "21f7 01c8", // and Ev,Gv 4 / add Ev,Gv 4
  "4c393424 7422", // cmp Ev,Gv 8 / jz Jb 8
  "4883c410 44880c17", // add Ev,sIb 8 / mov Eb,Gb 1
  "83ea01 83f801", // sub Ev,sIb 4 / cmp Ev,sIb 4
  "4889c2 39d0", // mov Ev,Gv 8 / cmp Ev,Gv 4
  "01c8 4883fa04", // add Ev,Gv 4 / cmp Ev,sIb 8
  "89c7 03540500", // mov Ev,Gv 4 / add Gv,Ev 4
  "48ffc5 21f7", // inc Ev 8 / and Ev,Gv 4
  "c1ce0c 21f7", // ror Ev,Ib 4 / and Ev,Gv 4
  "03540500 03540500", // add Gv,Ev 4 / add Gv,Ev 4
  "03540500 f7d7", // add Gv,Ev 4 / not Ev 4
  "f7d7 48ffc5", // not Ev 4 / inc Ev 8
  "83c134 4883c410", // add Ev,sIb 4 / add Ev,sIb 8
  "41c1c010 41c1c010", // rol Ev,Ib 4 / rol Ev,Ib 4
  "4889c2 4889053c98a101", // mov Ev,Gv 8 / mov Ev,Gv 8
  "41c1c010 01c8", // rol Ev,Ib 4 / add Ev,Gv 4
  "488b05fe9cbf01 4c393424", // mov Gv,Ev 8 / cmp Ev,Gv 8
  "4881feffffff7f 7ece", // cmp Ev,Iz 8 / jle Jb 8
  "488d04c3 4881feffffff7f", // lea Gv,M 8 / cmp Ev,Iz 8
  "48c1ea20 48c1e230", // shr Ev,Ib 8 / shl Ev,Ib 8
  "b9010100c0 4889c2", // mov Zv,Iv 4 / mov Ev,Gv 8
  "450fbec9 83ea01", // movsx Gv,Eb 4 / sub Ev,sIb 4
  "29d9 3b4524", // sub Ev,Gv 4 / cmp Gv,Ev 4
  "488d25513fa001 4c393424", // lea Gv,M 8 / cmp Ev,Gv 8
  "84d2 0f841a010000", // test Eb,Gb 1 / jz Jz 8
  "48c1ea20 89c7", // shr Ev,Ib 8 / mov Ev,Gv 4
  "49ba6750a10200000000 56", // mov Zv,Iv 8 / push Zv 8
  "660f70c093 660f70c093", // pshufd Vdq,Wdq,Ib 4 / pshufd Vdq,Wdq,Ib 4
  "488b05fe9cbf01 4883ec20", // mov Gv,Ev 8 / sub Ev,sIb 8
  "80fa25 7422", // cmp Eb,Ib 1 / jz Jb 8
  "a804 7422", // test AL,Ib 1 / jz Jb 8
  "0fb61407 0fb61407", // movzx Gv,Eb 4 / movzx Gv,Eb 4
  "488d04c3 4883fa04", // lea Gv,M 8 / cmp Ev,sIb 8
  "31c0 c3", // xor Ev,Gv 4 / ret  8
  "488d25513fa001 31c0", // lea Gv,M 8 / xor Ev,Gv 4
  "488b05fe9cbf01 83f801", // mov Gv,Ev 8 / cmp Ev,sIb 4
  "0f1f440000 803d6c428f0100", // nop Ev 4 / cmp Eb,Ib 1
  "83c134 39d0", // add Ev,sIb 4 / cmp Ev,Gv 4
  "4801f8 0fb61407", // add Ev,Gv 8 / movzx Gv,Eb 4
  "0fb61407 480304dd60eb3982", // movzx Gv,Eb 4 / add Gv,Ev 8
  "480304dd60eb3982 488d04c3", // add Gv,Ev 8 / lea Gv,M 8
  "3b4524 7302", // cmp Gv,Ev 4 / jnb Jb 8
  "488b05fe9cbf01 83ea01", // mov Gv,Ev 8 / sub Ev,sIb 4
  "83f801 7710", // cmp Ev,sIb 4 / jnbe Jb 8
  "19c9 83c820", // sbb Ev,Gv 4 / or Ev,sIb 4
  "48c1e230 488b05fe9cbf01", // shl Ev,Ib 8 / mov Gv,Ev 8
  "4889c2 488d25513fa001", // mov Ev,Gv 8 / lea Gv,M 8
  "0fba64240c0a 7302", // bt Ev,Ib 4 / jnb Jb 8
  "4809d0 4889c2", // or Ev,Gv 8 / mov Ev,Gv 8
  "448b973c010000 4883c410", // mov Gv,Ev 4 / add Ev,sIb 8
  "4c8b5416f0 488914cb", // mov Gv,Ev 8 / mov Ev,Gv 8
  "4c8b5416f0 4889053c98a101", // mov Gv,Ev 8 / mov Ev,Gv 8
  "25000ff00f 3d1e000080", // and rAX,Iz 4 / cmp rAX,Iz 4
  "488b05fe9cbf01 48c1e230", // mov Gv,Ev 8 / shl Ev,Ib 8
  "b9010100c0 4883c410", // mov Zv,Iv 4 / add Ev,sIb 8
  "c1e808 41c1c010", // shr Ev,Ib 4 / rol Ev,Ib 4
  "31c0 b9010100c0", // xor Ev,Gv 4 / mov Zv,Iv 4
  "4c8b5416f0 4883c410", // mov Gv,Ev 8 / add Ev,sIb 8
  "4883c410 4881feffffff7f", // add Ev,sIb 8 / cmp Ev,Iz 8
  "4889c2 4863c9", // mov Ev,Gv 8 / movsxd Gv,Ed 8
  "034f04 41c1c010", // add Gv,Ev 4 / rol Ev,Ib 4
  "c1e808 c1ce0c", // shr Ev,Ib 4 / ror Ev,Ib 4
  "4889c2 480500600b03", // mov Ev,Gv 8 / add rAX,Iz 8
  "0fb603 0fb70c77", // movzx Gv,Eb 4 / movzx Gv,Ew 4
  "480500600b03 0fb603", // add rAX,Iz 8 / movzx Gv,Eb 4
];
