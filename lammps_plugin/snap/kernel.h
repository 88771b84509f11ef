// The arithmetic of the bispectrum, for as many atoms at a time as a vector register holds ("lanes").
//
// kernel.cpp is compiled once for each instruction set; the best that the processor has is chosen at run time. No other
// code may be compiled with those flags, so the interface is plain pointers and kernel.cpp uses no library.

#ifndef FITSNAP_NN_SNAP_KERNEL_H
#define FITSNAP_NN_SNAP_KERNEL_H

#include "tables.h"

#include <cstddef>

namespace fitsnap_nn::snap {

// What the kernel needs of one pair, each for all lanes: the Cayley-Klein parameters a, b of the rotation, the weight s
// of the neighbour, its derivative by the distance, the unit vector to it, and the derivatives of the parameters.
// In lanes without such a neighbour s, ds, direction and inverse are 0.
enum SlotField {
  A_RE,
  A_IM,
  B_RE,
  B_IM,
  WEIGHT,
  D_WEIGHT,
  DIRECTION_X,
  DIRECTION_Y,
  DIRECTION_Z,
  INVERSE,      // r0^-1 with r0^2 = r^2 + z0^2; a = (z0 - i z) / r0, b = (y - i x) / r0
  D_A_RE,       // d a_re / dr
  D_INVERSE,    // r times d r0^-1 / dr
  SLOT_FIELDS
};

// The neighbours of `lanes` atoms. All arrays run over the lanes fastest.
struct Batch {
  const double *slots;         // [slot][SlotField]
  const int *channel_slots;    // [channel + 1]: the slots of each channel
  double *density;             // [channel][half element][re, im]; holds the atoms' own part when it is accumulated
  double *scratch;             // as much as scratch_size() says
};

struct Kernel {
  const char *name;
  int lanes;
  // Doubles of scratch memory that the other functions need, and those that gradients() needs.
  std::size_t (*scratch_size)(const TablesView &tables);
  std::size_t (*gradient_scratch_size)(const TablesView &tables);
  // Adds the neighbours to the densities.
  void (*densities)(const TablesView &tables, const Batch &batch);
  // [component]: the components, before bzeroflag.
  void (*components)(const TablesView &tables, const Batch &batch, double *components);
  // beta [component] -> [slot][xyz]: sum of beta times the components' derivatives by the vector to each neighbour.
  void (*forces)(const TablesView &tables, const Batch &batch, const double *beta, double *forces);
  // [slot][xyz][component]: the components' derivatives by the vector to each neighbour.
  void (*gradients)(const TablesView &tables, const Batch &batch, double *gradients);
};

}    // namespace fitsnap_nn::snap

#endif
