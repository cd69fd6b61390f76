#include "textflag.h"

// func call(function, stack, a, b uintptr) uintptr
TEXT ·call(SB), NOSPLIT, $16-40
	MOVD function+0(FP), R9
	MOVD stack+8(FP), R10
	MOVD a+16(FP), R0
	MOVD b+24(FP), R1
	MOVD RSP, R19 // C keeps R19.
	MOVD R10, RSP
	CALL (R9)
	MOVD R19, RSP
	MOVD R0, ret+32(FP)
	RET
