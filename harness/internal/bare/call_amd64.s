#include "textflag.h"

// func call(function, stack, a, b uintptr) uintptr
TEXT ·call(SB), NOSPLIT, $0-40
	MOVQ function+0(FP), AX
	MOVQ stack+8(FP), CX
	MOVQ a+16(FP), DI
	MOVQ b+24(FP), SI
	MOVQ SP, BX // C keeps BX.
	MOVQ CX, SP
	CALL AX
	MOVQ BX, SP
	MOVQ AX, ret+32(FP)
	RET
