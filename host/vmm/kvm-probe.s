# The program of kvm-probe.ts: can this KVM run a stock kernel? Entered in 64-bit mode, in ring 0, with paging, as
# Linux is (cpu-state.ts). Announces each step on the debug port before it takes it, so that the last word names the
# step which KVM gave up on. Each step is something that Linux for x86-64 does in ring 0 before its first process, on
# processors that say they have it:
#   1  arithmetic in a loop, timed by the host: LOOPS times two instructions
#   2  int3 and iretq: alternative_instructions() tests it on every boot
#   3  cmpxchg16b: the slab allocator
#   4  xsave and xrstor: the first thing after XSAVE is found, and every switch of a task
#   5  popcnt: bitmaps, patched in as an alternative
#   6  fxsave, swapgs, wrmsr, rdtsc: context switches and per-CPU data
# and DONE. Linked at 0x100000, where the host loads it: as --64, ld -Ttext=0x100000 -Tbss=0x101000.

        .set    PORT, 0xf4
        .set    DONE, 0x7f
        .set    LOOPS, 500000

        .macro  step number
        movb    $\number, %al
        outb    %al, $PORT
        .endm

        .text
        .globl  _start
_start:
        cli
        leaq    stack_top(%rip), %rsp
        step    1
        movl    $LOOPS, %ecx
1:      decl    %ecx
        jnz     1b

        step    2
        leaq    on_breakpoint(%rip), %rax       # gate 3 of the IDT
        movw    %ax, gate + 0(%rip)
        shrq    $16, %rax
        movw    %ax, gate + 6(%rip)
        shrq    $16, %rax
        movl    %eax, gate + 8(%rip)
        lidt    idt_pointer(%rip)
        int3
        cmpb    $1, was_hit(%rip)
        jne     stop

        movl    $1, %eax
        cpuid
        movl    %ecx, %r12d                     # features
        btl     $13, %r12d
        jnc     1f
        step    3
        xorl    %eax, %eax
        xorl    %edx, %edx
        movl    $1, %ebx
        xorl    %ecx, %ecx
        lock cmpxchg16b pair(%rip)
        jnz     stop
        cmpq    $1, pair(%rip)
        jne     stop

1:      btl     $26, %r12d
        jnc     1f
        step    4
        movq    %cr4, %rax
        orl     $0x40600, %eax                  # OSXSAVE, OSFXSR, OSXMMEXCPT
        movq    %rax, %cr4
        xorl    %ecx, %ecx
        movl    $3, %eax                        # x87 and SSE
        xorl    %edx, %edx
        xsetbv
        xsave64 area(%rip)
        movl    $3, %eax
        xorl    %edx, %edx
        xrstor64 area(%rip)

1:      btl     $23, %r12d
        jnc     1f
        step    5
        movl    $0xf0f0, %eax
        popcntl %eax, %eax
        cmpl    $8, %eax
        jne     stop

1:      step    6
        fxsave64 area(%rip)
        movl    $0xc0000101, %ecx               # MSR_GS_BASE
        leaq    pair(%rip), %rax
        xorl    %edx, %edx
        wrmsr
        swapgs
        swapgs
        cmpq    $1, %gs:0
        jne     stop
        rdtsc
        step    DONE
stop:   hlt
        jmp     stop

on_breakpoint:
        movb    $1, was_hit(%rip)
        iretq

        .balign 16
pair:   .quad   0, 0
idt:    .fill   48, 1, 0                        # gates 0 to 2
gate:   .word   0, 0x10, 0x8e00, 0              # an interrupt gate into __BOOT_CS
        .quad   0
idt_pointer:
        .word   63
        .quad   idt

        .bss                                    # RAM that is zero, not in the image
        .balign 64
area:   .skip   4096
        .skip   512
stack_top:
was_hit:
        .skip   1
