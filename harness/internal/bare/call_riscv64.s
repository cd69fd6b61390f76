#include "textflag.h"

// func call(function, stack, a, b uintptr) uintptr
TEXT ·call(SB), NOSPLIT, $16-40
	MOV function+0(FP), X5
	MOV stack+8(FP), X6
	MOV a+16(FP), X10
	MOV b+24(FP), X11
	MOV X2, X9 // C keeps X9.
	MOV X6, X2
	CALL X5
	MOV X9, X2
	MOV X10, ret+32(FP)
	RET
