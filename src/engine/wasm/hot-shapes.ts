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
];

/** Pairs of them that often follow each other and get a handler together, so that one dispatch does for both. The first must not write memory. */
export const HOT_PAIRS: readonly string[] = [
  "4889c2 89c7", // mov Ev,Gv 8 f0 / mov Ev,Gv 4 f0
  "4801f8 4839de", // add Ev,Gv 8 f0 / cmp Ev,Gv 8 f0
  "4c0faff2 4c0faff2", // imul Gv,Ev 8 f0 / imul Gv,Ev 8 f0
  "89c7 48c1ea20", // mov Ev,Gv 4 f0 / shr Ev,Ib 8 f0
  "4c0faff2 4889c2", // imul Gv,Ev 8 f0 / mov Ev,Gv 8 f0
  "4889c2 4c0faff2", // mov Ev,Gv 8 f0 / imul Gv,Ev 8 f0
  "5b 5b", // pop Zv 8 f0 / pop Zv 8 f0
  "4801f8 4801f8", // add Ev,Gv 8 f0 / add Ev,Gv 8 f0
  "4863c9 4829d0", // movsxd Gv,Ed 8 f0 / sub Ev,Gv 8 f0
  "4889c2 4801f8", // mov Ev,Gv 8 f0 / add Ev,Gv 8 f0
  "4801f8 4889c2", // add Ev,Gv 8 f0 / mov Ev,Gv 8 f0
  "48c1e230 4801f8", // shl Ev,Ib 8 f0 / add Ev,Gv 8 f0
  "4839de 4889c2", // cmp Ev,Gv 8 f0 / mov Ev,Gv 8 f0
  "48c1ea20 4801f8", // shr Ev,Ib 8 f0 / add Ev,Gv 8 f0
  "4889c2 480f43c3", // mov Ev,Gv 8 f0 / cmovnb Gv,Ev 8 f0
  "48c1ea20 4889c2", // shr Ev,Ib 8 f0 / mov Ev,Gv 8 f0
  "4829d0 4c8b5416f0", // sub Ev,Gv 8 f0 / mov Gv,Ev 8 f2
  "4801f8 48c1e230", // add Ev,Gv 8 f0 / shl Ev,Ib 8 f0
  "480f43c3 4801f8", // cmovnb Gv,Ev 8 f0 / add Ev,Gv 8 f0
  "4801f8 83c134", // add Ev,Gv 8 f0 / add Ev,sIb 4 f0
  "488d04c3 4889c2", // lea Gv,M 8 f2 / mov Ev,Gv 8 f0
  "4839de 400f92c5", // cmp Ev,Gv 8 f0 / setb Eb 1 f0
  "4801f8 48c1ea20", // add Ev,Gv 8 f0 / shr Ev,Ib 8 f0
  "4c8b5416f0 488d04c3", // mov Gv,Ev 8 f2 / lea Gv,M 8 f2
  "400f92c5 4801f8", // setb Eb 1 f0 / add Ev,Gv 8 f0
  "4811ce 4889053c98a101", // adc Ev,Gv 8 f0 / mov Ev,Gv 8 f1
  "5b c3", // pop Zv 8 f0 / ret  8 f0
  "4889c2 4889c2", // mov Ev,Gv 8 f0 / mov Ev,Gv 8 f0
  "488b05fe9cbf01 400fb6ed", // mov Gv,Ev 8 f1 / movzx Gv,Eb 4 f0
  "48c1ea20 488b05fe9cbf01", // shr Ev,Ib 8 f0 / mov Gv,Ev 8 f1
  "4829d0 4811ce", // sub Ev,Gv 8 f0 / adc Ev,Gv 8 f0
  "83c134 0f8526030000", // add Ev,sIb 4 f0 / jnz Jz 8 f0
  "400fb6ed 4829d0", // movzx Gv,Eb 4 f0 / sub Ev,Gv 8 f0
  "31c0 89c7", // xor Ev,Gv 4 f0 / mov Ev,Gv 4 f0
  "4889c2 56", // mov Ev,Gv 8 f0 / push Zv 8 f0
  "83c134 7506", // add Ev,sIb 4 f0 / jnz Jb 8 f0
  "89c7 89c7", // mov Ev,Gv 4 f0 / mov Ev,Gv 4 f0
  "4889c2 e8aa070000", // mov Ev,Gv 8 f0 / call Jz 8 f0
  "488b05fe9cbf01 488b05fe9cbf01", // mov Gv,Ev 8 f1 / mov Gv,Ev 8 f1
  "01c8 89c7", // add Ev,Gv 4 f0 / mov Ev,Gv 4 f0
  "48c1ea20 400fb6ed", // shr Ev,Ib 8 f0 / movzx Gv,Eb 4 f0
  "0fb603 84d2", // movzx Gv,Eb 4 f1 / test Eb,Gb 1 f0
  "4885ff 0f841a010000", // test Ev,Gv 8 f0 / jz Jz 8 f0
  "400fb6ed 4c0301", // movzx Gv,Eb 4 f0 / add Gv,Ev 8 f1
  "4c0301 4811ce", // add Gv,Ev 8 f1 / adc Ev,Gv 8 f0
  "4885ff 7422", // test Ev,Gv 8 f0 / jz Jb 8 f0
  "84d2 7422", // test Eb,Gb 1 f0 / jz Jb 8 f0
  "803d6c428f0100 7506", // cmp Eb,Ib 1 f1 / jnz Jb 8 f0
  "89c7 01c8", // mov Ev,Gv 4 f0 / add Ev,Gv 4 f0
  "39d0 7506", // cmp Ev,Gv 4 f0 / jnz Jb 8 f0
  "4839de 7506", // cmp Ev,Gv 8 f0 / jnz Jb 8 f0
  "4889c2 5b", // mov Ev,Gv 8 f0 / pop Zv 8 f0
  "488b05fe9cbf01 4889c2", // mov Gv,Ev 8 f1 / mov Ev,Gv 8 f0
  "4863c9 4801f8", // movsxd Gv,Ed 8 f0 / add Ev,Gv 8 f0
  "83c134 4863c9", // add Ev,sIb 4 f0 / movsxd Gv,Ed 8 f0
  "84d2 79e2", // test Eb,Gb 1 f0 / jns Jb 8 f0
  "448b973c010000 448b973c010000", // mov Gv,Ev 4 f1 / mov Gv,Ev 4 f1
  "4801f8 39d0", // add Ev,Gv 8 f0 / cmp Ev,Gv 4 f0
  "83c134 83c134", // add Ev,sIb 4 f0 / add Ev,sIb 4 f0
  "4585d2 7422", // test Ev,Gv 4 f0 / jz Jb 8 f0
  "4883c410 5b", // add Ev,sIb 8 f0 / pop Zv 8 f0
  "41c1c010 31c0", // rol Ev,Ib 4 f0 / xor Ev,Gv 4 f0
  "4839de 7422", // cmp Ev,Gv 8 f0 / jz Jb 8 f0
  "89c7 41c1c010", // mov Ev,Gv 4 f0 / rol Ev,Ib 4 f0
  "65488b042528000000 4889053c98a101", // mov Gv,Ev 8 f3 / mov Ev,Gv 8 f1
  "4839de 7302", // cmp Ev,Gv 8 f0 / jnb Jb 8 f0
  "488b05fe9cbf01 65482b042528000000", // mov Gv,Ev 8 f1 / sub Gv,Ev 8 f3
  "4829d0 31c0", // sub Ev,Gv 8 f0 / xor Ev,Gv 4 f0
  "4883c410 4839de", // add Ev,sIb 8 f0 / cmp Ev,Gv 8 f0
  "448b973c010000 25000ff00f", // mov Gv,Ev 4 f1 / and rAX,Iz 4 f0
  "21f7 31c0", // and Ev,Gv 4 f0 / xor Ev,Gv 4 f0
  "89c7 56", // mov Ev,Gv 4 f0 / push Zv 8 f0
  "89c7 31c0", // mov Ev,Gv 4 f0 / xor Ev,Gv 4 f0
  "448b973c010000 488b05fe9cbf01", // mov Gv,Ev 4 f1 / mov Gv,Ev 8 f1
  "89c7 c1ce0c", // mov Ev,Gv 4 f0 / ror Ev,Ib 4 f0
  "f6839000000001 7506", // test Eb,Ib 1 f1 / jnz Jb 8 f0
  "89c7 4889c2", // mov Ev,Gv 4 f0 / mov Ev,Gv 8 f0
  "4889c2 488914cb", // mov Ev,Gv 8 f0 / mov Ev,Gv 8 f2
  "480304dd60eb3982 400f92c5", // add Gv,Ev 8 f2 / setb Eb 1 f0
  "4983d400 83c134", // adc Ev,sIb 8 f0 / add Ev,sIb 4 f0
  "4585d2 0f8526030000", // test Ev,Gv 4 f0 / jnz Jz 8 f0
  "0fba64240c0a 721d", // bt Ev,Ib 4 f1 / jb Jb 8 f0
  "488b05fe9cbf01 4885ff", // mov Gv,Ev 8 f1 / test Ev,Gv 8 f0
  "0fb603 4883c410", // movzx Gv,Eb 4 f1 / add Ev,sIb 8 f0
  "4889c2 488b05fe9cbf01", // mov Ev,Gv 8 f0 / mov Gv,Ev 8 f1
  "4883c410 84d2", // add Ev,sIb 8 f0 / test Eb,Gb 1 f0
  "4829d0 4889c2", // sub Ev,Gv 8 f0 / mov Ev,Gv 8 f0
  "488b05fe9cbf01 4889053c98a101", // mov Gv,Ev 8 f1 / mov Ev,Gv 8 f1
  "488b05fe9cbf01 488d25513fa001", // mov Gv,Ev 8 f1 / lea Gv,M 8 f1
  "4885ff 7506", // test Ev,Gv 8 f0 / jnz Jb 8 f0
  "84d2 7506", // test Eb,Gb 1 f0 / jnz Jb 8 f0
  "c1ce0c c1ce0c", // ror Ev,Ib 4 f0 / ror Ev,Ib 4 f0
  "4889c2 48c1ea20", // mov Ev,Gv 8 f0 / shr Ev,Ib 8 f0
  "4889c2 4829d0", // mov Ev,Gv 8 f0 / sub Ev,Gv 8 f0
  "488b05fe9cbf01 e8aa070000", // mov Gv,Ev 8 f1 / call Jz 8 f0
  "4839de 0f82d2000000", // cmp Ev,Gv 8 f0 / jb Jz 8 f0
  "4889c2 4883ec20", // mov Ev,Gv 8 f0 / sub Ev,sIb 8 f0
  "4889c2 31c0", // mov Ev,Gv 8 f0 / xor Ev,Gv 4 f0
  "c1ce0c 31c0", // ror Ev,Ib 4 f0 / xor Ev,Gv 4 f0
  "89c7 c1e808", // mov Ev,Gv 4 f0 / shr Ev,Ib 4 f0
  "0f1f440000 56", // nop Ev 4 f2 / push Zv 8 f0
  "48ffc5 803d6c428f0100", // inc Ev 8 f0 / cmp Eb,Ib 1 f1
  "4585d2 7506", // test Ev,Gv 4 f0 / jnz Jb 8 f0
  "458d5501 41890424", // lea Gv,M 4 f1 / mov Ev,Gv 4 f1
  "5b 4889c2", // pop Zv 8 f0 / mov Ev,Gv 8 f0
  "5b e91903e000", // pop Zv 8 f0 / jmp Jz 8 f0
  "448b973c010000 458d5501", // mov Gv,Ev 4 f1 / lea Gv,M 4 f1
  "448b973c010000 4585d2", // mov Gv,Ev 4 f1 / test Ev,Gv 4 f0
  "4883c410 4889c2", // add Ev,sIb 8 f0 / mov Ev,Gv 8 f0
  "31c0 4889c2", // xor Ev,Gv 4 f0 / mov Ev,Gv 8 f0
  "83f801 7506", // cmp Ev,sIb 4 f0 / jnz Jb 8 f0
  "4881feffffff7f 7506", // cmp Ev,Iz 8 f0 / jnz Jb 8 f0
  "448a1e 48ffc5", // mov Gb,Eb 1 f1 / inc Ev 8 f0
  "488d25513fa001 4889c2", // lea Gv,M 8 f1 / mov Ev,Gv 8 f0
  "400fb6ed 4233048a", // movzx Gv,Eb 4 f0 / xor Gv,Ev 4 f2
  "400fb6ed f6839000000001", // movzx Gv,Eb 4 f0 / test Eb,Ib 1 f1
  "c1e808 400fb6ed", // shr Ev,Ib 4 f0 / movzx Gv,Eb 4 f0
  "31c0 c1e808", // xor Ev,Gv 4 f0 / shr Ev,Ib 4 f0
  "48ffc5 31c0", // inc Ev 8 f0 / xor Ev,Gv 4 f0
  "4233048a eb0b", // xor Gv,Ev 4 f2 / jmp Jb 8 f0
  "31c0 31c0", // xor Ev,Gv 4 f0 / xor Ev,Gv 4 f0
  "3c03 0f841a010000", // cmp AL,Ib 1 f0 / jz Jz 8 f0
  "b9010100c0 664139c5", // mov Zv,Iv 4 f0 / cmp Ev,Gv 2 f0
  "410f42f5 66050077", // cmovb Gv,Ev 4 f0 / add rAX,Iz 2 f0
  "664139c5 410f42f5", // cmp Ev,Gv 2 f0 / cmovb Gv,Ev 4 f0
  "66448b5416fe b9010100c0", // mov Gv,Ev 2 f2 / mov Zv,Iv 4 f0
  "66050077 6689540500", // add rAX,Iz 2 f0 / mov Ev,Gv 2 f2
  "31c0 480304dd60eb3982", // xor Ev,Gv 4 f0 / add Gv,Ev 8 f2
  "480304dd60eb3982 4889c2", // add Gv,Ev 8 f2 / mov Ev,Gv 8 f0
  "4889c2 4883c410", // mov Ev,Gv 8 f0 / add Ev,sIb 8 f0
  "400f92c5 480304dd60eb3982", // setb Eb 1 f0 / add Gv,Ev 8 f2
  "4883fa04 7422", // cmp Ev,sIb 8 f0 / jz Jb 8 f0
  "31c0 4889053c98a101", // xor Ev,Gv 4 f0 / mov Ev,Gv 8 f1
  "4889c2 4885ff", // mov Ev,Gv 8 f0 / test Ev,Gv 8 f0
  "ffc9 7803", // dec Ev 4 f0 / js Jb 8 f0
  "4839de 721d", // cmp Ev,Gv 8 f0 / jb Jb 8 f0
  "83f801 0f841a010000", // cmp Ev,sIb 4 f0 / jz Jz 8 f0
  "4889c2 4839de", // mov Ev,Gv 8 f0 / cmp Ev,Gv 8 f0
  "4883fa04 7675", // cmp Ev,sIb 8 f0 / jbe Jb 8 f0
  "31c0 eb0b", // xor Ev,Gv 4 f0 / jmp Jb 8 f0
  "4839de 0f841a010000", // cmp Ev,Gv 8 f0 / jz Jz 8 f0
  "488d25513fa001 4889053c98a101", // lea Gv,M 8 f1 / mov Ev,Gv 8 f1
  "4883ec20 488b05fe9cbf01", // sub Ev,sIb 8 f0 / mov Gv,Ev 8 f1
  "31c0 21f7", // xor Ev,Gv 4 f0 / and Ev,Gv 4 f0
  "4839de 0f8526030000", // cmp Ev,Gv 8 f0 / jnz Jz 8 f0
  "65482b042528000000 0f8526030000", // sub Gv,Ev 8 f3 / jnz Jz 8 f0
  "3c03 0f8526030000", // cmp AL,Ib 1 f0 / jnz Jz 8 f0
  "4883c410 803d6c428f0100", // add Ev,sIb 8 f0 / cmp Eb,Ib 1 f1
  "89c7 21f7", // mov Ev,Gv 4 f0 / and Ev,Gv 4 f0
  "b9010100c0 e8aa070000", // mov Zv,Iv 4 f0 / call Jz 8 f0
  "4883c410 e8aa070000", // add Ev,sIb 8 f0 / call Jz 8 f0
  "31c0 01c8", // xor Ev,Gv 4 f0 / add Ev,Gv 4 f0
  "458d5501 80fa25", // lea Gv,M 4 f1 / cmp Eb,Ib 1 f0
  "4585d2 0f841a010000", // test Ev,Gv 4 f0 / jz Jz 8 f0
  "3a1406 7422", // cmp Gb,Eb 1 f2 / jz Jb 8 f0
  "0fb61407 3a1406", // movzx Gv,Eb 4 f2 / cmp Gb,Eb 1 f2
  "4889c2 0fba64240c0a", // mov Ev,Gv 8 f0 / bt Ev,Ib 4 f1
  "488d25513fa001 48c1ea20", // lea Gv,M 8 f1 / shr Ev,Ib 8 f0
  "83f801 0f876cffffff", // cmp Ev,sIb 4 f0 / jnbe Jz 8 f0
  "448b973c010000 4889053c98a101", // mov Gv,Ev 4 f1 / mov Ev,Gv 8 f1
  "3d1e000080 7710", // cmp rAX,Iz 4 f0 / jnbe Jb 8 f0
  "4863c9 56", // movsxd Gv,Ed 8 f0 / push Zv 8 f0
  "31c0 4c8b5416f0", // xor Ev,Gv 4 f0 / mov Gv,Ev 8 f2
  "448b973c010000 034f04", // mov Gv,Ev 4 f1 / add Gv,Ev 4 f1
  "31c0 e8aa070000", // xor Ev,Gv 4 f0 / call Jz 8 f0
  "83f801 7422", // cmp Ev,sIb 4 f0 / jz Jb 8 f0
  "400f92c5 4829d0", // setb Eb 1 f0 / sub Ev,Gv 8 f0
  "f6c410 0f8526030000", // test Eb,Ib 1 f0 / jnz Jz 8 f0
  "89c7 25000ff00f", // mov Ev,Gv 4 f0 / and rAX,Iz 4 f0
  "4c8b5416f0 480304dd60eb3982", // mov Gv,Ev 8 f2 / add Gv,Ev 8 f2
  "89c7 e91903e000", // mov Ev,Gv 4 f0 / jmp Jz 8 f0
  "21f7 09f2", // and Ev,Gv 4 f0 / or Ev,Gv 4 f0
  "25000ff00f 83f801", // and rAX,Iz 4 f0 / cmp Ev,sIb 4 f0
  "488b05fe9cbf01 448b973c010000", // mov Gv,Ev 8 f1 / mov Gv,Ev 4 f1
  "803d6c428f0100 7422", // cmp Eb,Ib 1 f1 / jz Jb 8 f0
  "4889c2 b9010100c0", // mov Ev,Gv 8 f0 / mov Zv,Iv 4 f0
  "803d6c428f0100 0f841a010000", // cmp Eb,Ib 1 f1 / jz Jz 8 f0
  "c1ce0c 01c8", // ror Ev,Ib 4 f0 / add Ev,Gv 4 f0
  "4889c2 4883e0fc", // mov Ev,Gv 8 f0 / and Ev,sIb 8 f0
  "a804 7506", // test AL,Ib 1 f0 / jnz Jb 8 f0
  "31c0 56", // xor Ev,Gv 4 f0 / push Zv 8 f0
  "89c7 83e1fa", // mov Ev,Gv 4 f0 / and Ev,sIb 4 f0
  "488b05fe9cbf01 4839de", // mov Gv,Ev 8 f1 / cmp Ev,Gv 8 f0
  "31c0 448b973c010000", // xor Ev,Gv 4 f0 / mov Gv,Ev 4 f1
  "4883ec20 65488b042528000000", // sub Ev,sIb 8 f0 / mov Gv,Ev 8 f3
  "4885ff 0f8526030000", // test Ev,Gv 8 f0 / jnz Jz 8 f0
  "488b05fe9cbf01 31c0", // mov Gv,Ev 8 f1 / xor Ev,Gv 4 f0
  "0fb70c77 4889c2", // movzx Gv,Ew 4 f2 / mov Ev,Gv 8 f0
  "488b05fe9cbf01 b9010100c0", // mov Gv,Ev 8 f1 / mov Zv,Iv 4 f0
  "488b05fe9cbf01 eb0b", // mov Gv,Ev 8 f1 / jmp Jb 8 f0
  "4839de 0f8337020000", // cmp Ev,Gv 8 f0 / jnb Jz 8 f0
  "65482b042528000000 7422", // sub Gv,Ev 8 f3 / jz Jb 8 f0
  "a804 0f8526030000", // test AL,Ib 1 f0 / jnz Jz 8 f0
  "4883c410 89c7", // add Ev,sIb 8 f0 / mov Ev,Gv 4 f0
  "89c7 e8aa070000", // mov Ev,Gv 4 f0 / call Jz 8 f0
  "4889c2 4881ed00000081", // mov Ev,Gv 8 f0 / sub Ev,Iz 8 f0
  "486333 4801f8", // movsxd Gv,Ed 8 f1 / add Ev,Gv 8 f0
  "4885ff 0f8823030000", // test Ev,Gv 8 f0 / js Jz 8 f0
];
