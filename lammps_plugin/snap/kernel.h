// The SNAP kernel: U, Z, B, Y and their derivatives for as many atoms at a time as a vector register holds ("lanes").
//
// kernel.cpp is compiled once per instruction set, and the best one that the processor supports is chosen at run time.
// Only kernel.cpp may be compiled with these flags: an inline function of the standard library that was compiled with
// -mavx512f could be the copy that the linker keeps for everyone, and would crash on other processors. The interface
// is therefore plain pointers, and kernel.cpp includes no library code.

#ifndef FITSNAP_NN_SNAP_KERNEL_H
#define FITSNAP_NN_SNAP_KERNEL_H

#include "tables.h"

#include <cstddef>

namespace fitsnap_nn::snap {

// Data of one neighbour, each field for all lanes. x, y, z is the displacement and r its length; theta0, z0 and r0 are
// defined in Descriptor::fill_slot. In lanes without such a neighbour SFAC, DSFAC, UNIT and R0INV are 0.
enum SlotField {
  A_RE,    // Cayley-Klein parameters a = (z0 - i z) / r0 and b = (y - i x) / r0
  A_IM,
  B_RE,
  B_IM,
  SFAC,      // weight of the neighbour's element times the switching functions
  DSFAC,     // d SFAC / dr
  UNIT_X,    // the displacement over r
  UNIT_Y,
  UNIT_Z,
  R0INV,          // 1 / r0, where r0^2 = r^2 + z0^2
  DA_RE_DR,       // d A_RE / dr
  R_DR0INV_DR,    // r d R0INV / dr
  SLOT_FIELDS
};

// The neighbours of `lanes` atoms. In all arrays the lane is the fastest index.
struct Batch {
  const double *slots;         // [slot][SlotField]
  const int *channel_slots;    // [channel + 1]: the slots of each channel
  double *ulisttot;            // [channel][half block element][re, im]; compute_ui adds to the self contribution
  double *scratch;             // of the size that scratch_size() or dbidrj_scratch_size() returns
};

// The functions are named as in LAMMPS' class SNA.
struct Kernel {
  const char *name;
  int lanes;
  // Scratch memory in doubles: that of compute_ui, compute_bi and compute_deidrj, and that of compute_dbidrj.
  std::size_t (*scratch_size)(const TablesView &tables);
  std::size_t (*dbidrj_scratch_size)(const TablesView &tables);
  // Adds the contributions of the neighbours to ulisttot.
  void (*compute_ui)(const TablesView &tables, const Batch &batch);
  // blist [component]: the components without the subtraction of bzeroflag.
  void (*compute_bi)(const TablesView &tables, const Batch &batch, double *blist);
  // beta [component] -> deidrj [slot][xyz]: sum over components of beta dB/dr, r the displacement of the neighbour.
  void (*compute_deidrj)(const TablesView &tables, const Batch &batch, const double *beta, double *deidrj);
  // dbidrj [slot][xyz][component]: dB/dr.
  void (*compute_dbidrj)(const TablesView &tables, const Batch &batch, double *dbidrj);
};

}    // namespace fitsnap_nn::snap

#endif
