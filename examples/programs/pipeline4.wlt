// A pipeline of four PEs, written by hand.
//
//   host --c0--> PE 0 --c1--> PE 1 --c2--> PE 2 --c3--> PE 3 --c4--> host
//                 x 2        + bias        ReLU     keep, then sum
//
// PEs 0 to 2 never store the stream: each receives an element, works on it and sends it on in one instruction, one element
// a cycle. PE 3 keeps the elements; when PE 2 tells it that the stream has ended, it sends them to the host, and their sum
// behind them. So y holds 17 numbers for the 16 of x.
//
//   waferloom simulate examples/programs/pipeline4.wlt --inputs x.npz

program "pipeline4"
machine bench16
grid 4x1

// For the report only: which operator the cycles belong to (`mark` below).
operator scale mul at 0,0 flops 16 bytes 0
operator bias  add at 1,0 flops 16 bytes 64
operator relu  max at 2,0 flops 16 bytes 0
operator sum   add at 3,0 flops 16 bytes 68

// One colour a link. A router takes a colour from the ports before the arrow and copies it to those behind it; RAMP is the
// PE's own compute element.
route c0 at 0,0 { pos WEST -> RAMP }    // from the host
route c1 at 0,0 { pos RAMP -> EAST }
route c1 at 1,0 { pos WEST -> RAMP }
route c2 at 1,0 { pos RAMP -> EAST }
route c2 at 2,0 { pos WEST -> RAMP }
route c3 at 2,0 { pos RAMP -> EAST }
route c3 at 3,0 { pos WEST -> RAMP }
route c4 at 3,0 { pos RAMP -> EAST }    // to the host

class scaler {
  in q0 = c0
  out q2 = c1
  task 8 main local activated {
    mark scale
    mul out q2 f32[16] <- in q0 f32[16], f32 2.0
  }
}

class adder {
  in q0 = c1
  out q2 = c2
  buffer bias at 0 bytes 64 weight      // filled by the constant below
  task 8 main local activated {
    mark bias
    add out q2 f32[16] <- in q0 f32[16], [@bias : f32 ; 16]
  }
}

class rectifier {
  in q0 = c2
  out q2 = c3
  // On a microthread: the main thread goes on at once, and task 9 runs when the last element is in the output queue.
  task 8 main local activated {
    mark relu
    max out q2 f32[16] <- in q0 f32[16], f32 0.0 async u0 then activate 9
  }
  // Tells PE 3 that the stream has ended: `nop` leaves all switches alone, task 10 runs where the wavelet comes down.
  task 9 tell local {
    control q2 [nop] task 10
  }
}

class summer {
  in q0 = c3
  out q2 = c4
  buffer kept at 0 bytes 64 activation
  buffer sum at 64 bytes 4 activation
  task 8 main local activated {
    mark sum
    mov [@kept : f32 ; 16] <- in q0 f32[16]
  }
  task 10 finish control {
    mov [@sum : f32 ; 1] <- f32 0.0
    // A stride of 0: all 16 sums go to the same address, one after another.
    add [@sum : f32 ; 16:0] <- [@sum : f32 ; 16:0], [@kept : f32 ; 16]
    mov out q2 f32[16] <- [@kept : f32 ; 16]
    mov out q2 f32[1] <- [@sum : f32 ; 1]
  }
}

place scaler at 0,0
place adder at 1,0
place rectifier at 2,0
place summer at 3,0

const bias : f32[16] at 0 origin 1,0 on 1x1 =
  [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0, 7.5]

input x : f32[16] on 1x1 edge WEST at 0,0 color c0
output y : f32[17] on 1x1 edge EAST at 3,0 color c4
