// The sum of one vector a PE over a row of five PEs, by a chain to the west.
//
//   host <--c0-- PE 0 <--c1-- PE 1 <--c0-- PE 2 <--c1-- PE 3 <--c0-- PE 4
//
// Each PE receives an element, adds its own and sends the sum on, in one instruction. A PE can not receive and send different
// streams on one colour, so two colours alternate (a checkerboard): PEs in even columns send on c0 and listen to c1, those in
// odd columns the other way round. One class serves them all, because its queues take their colours from parameters.
//
// Time: 6 cycles a PE (ramp up 2, hop 1, ramp down 2, the addition 1) and one cycle an element.

program "reduce_chain"
machine bench16
grid 5x1

param hears = columns [1, 0, 1, 0, 1]
param sends = columns [0, 1, 0, 1, 0]

route c0 at 0,0 size 5x1 step 2x1 { pos RAMP -> WEST }
route c1 at 0,0 size 3x1 step 2x1 { pos EAST -> RAMP }    // PE 4 has no neighbour to hear
route c1 at 1,0 size 3x1 step 2x1 { pos RAMP -> WEST }
route c0 at 1,0 size 3x1 step 2x1 { pos EAST -> RAMP }

// The end of the chain only sends.
class east {
  out q2 = $sends
  buffer mine at 0 bytes 32 weight
  task 8 main local activated {
    mov out q2 f32[8] <- [@mine : f32 ; 8]
  }
}

class link {
  in q0 = $hears
  out q2 = $sends
  buffer mine at 0 bytes 32 weight
  task 8 main local activated {
    add out q2 f32[8] <- in q0 f32[8], [@mine : f32 ; 8]
  }
}

place link at 0,0 size 4x1
place east at 4,0

// Row p goes to PE p.
const mine : f32[5, 8] at 0 origin 0,0 on 5x1 x dim 0 by 1 = [
   0.0,  1.0,  2.0,  3.0,  4.0,  5.0,  6.0,  7.0,
  10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0,
  20.0, 21.0, 22.0, 23.0, 24.0, 25.0, 26.0, 27.0,
  30.0, 31.0, 32.0, 33.0, 34.0, 35.0, 36.0, 37.0,
  40.0, 41.0, 42.0, 43.0, 44.0, 45.0, 46.0, 47.0
]

output y : f32[8] on 1x1 edge WEST at 0,0 color c0
