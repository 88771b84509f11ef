// C interface of the descriptors, for ctypes: see SIGNATURES in descriptors/kernel.py. No exception crosses it.

#ifndef FITSNAP_NN_SNAP_C_API_H
#define FITSNAP_NN_SNAP_C_API_H

#include "descriptor.h"

extern "C" {

// `flags`: switchflag, bzeroflag, chemflag, bnormflag, wselfallflag, switchinnerflag. `element_values`: radius, weight,
// sinner and dinner per element. Returns null and writes the reason to `error` if an option is invalid.
fitsnap_nn::snap::Descriptor *snap_create(int twojmax, double rcutfac, double rfac0, double rmin0, const int *flags,
                                          int elements, const double *element_values, const char *instruction_set,
                                          char *error, int error_size);
void snap_destroy(fitsnap_nn::snap::Descriptor *descriptor);
int snap_size(const fitsnap_nn::snap::Descriptor *descriptor);
const char *snap_instruction_set(const fitsnap_nn::snap::Descriptor *descriptor);
// Arrays as in NeighbourLists and in the functions of Descriptor. Each returns 1, or 0 if memory runs out.
int snap_load(fitsnap_nn::snap::Descriptor *descriptor, int atoms, const int *elements, const int *first,
              const int *neighbour_elements, const double *displacements);
int snap_components(fitsnap_nn::snap::Descriptor *descriptor, double *values);
int snap_forces(fitsnap_nn::snap::Descriptor *descriptor, const double *beta, double *values);
int snap_gradients(fitsnap_nn::snap::Descriptor *descriptor, double *values);
}

#endif
