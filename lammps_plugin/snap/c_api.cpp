#include "c_api.h"

#include <cstdio>
#include <new>
#include <stdexcept>

using fitsnap_nn::snap::Descriptor;
using fitsnap_nn::snap::Options;

namespace {

// Loading and computing can only fail for lack of memory: options were checked by snap_create.
template <class Work> int succeeds(Work work) {
  try {
    work();
    return 1;
  } catch (const std::bad_alloc &) {
    return 0;
  }
}

}    // namespace

#define EXPORTED __attribute__((visibility("default")))

EXPORTED Descriptor *snap_create(int twojmax, double rcutfac, double rfac0, double rmin0, const int *flags,
                                 int elements, const double *element_values, const char *instruction_set, char *error,
                                 int error_size) {
  try {
    Options options;
    options.twojmax = twojmax;
    options.rcutfac = rcutfac;
    options.rfac0 = rfac0;
    options.rmin0 = rmin0;
    options.switchflag = flags[0];
    options.bzeroflag = flags[1];
    options.chemflag = flags[2];
    options.bnormflag = flags[3];
    options.wselfallflag = flags[4];
    options.switchinnerflag = flags[5];
    for (const double *values = element_values; values < element_values + 4 * elements; values += 4) {
      options.radii.push_back(values[0]);
      options.weights.push_back(values[1]);
      options.sinner.push_back(values[2]);
      options.dinner.push_back(values[3]);
    }
    return new Descriptor(options, instruction_set);
  } catch (const std::exception &exception) {
    std::snprintf(error, error_size, "%s", exception.what());
    return nullptr;
  }
}

EXPORTED void snap_destroy(Descriptor *descriptor) {
  delete descriptor;
}

EXPORTED int snap_size(const Descriptor *descriptor) {
  return descriptor->size();
}

EXPORTED const char *snap_instruction_set(const Descriptor *descriptor) {
  return descriptor->instruction_set();
}

EXPORTED int snap_load(Descriptor *descriptor, int atoms, const int *elements, const int *first,
                       const int *neighbour_elements, const double *displacements) {
  return succeeds([&] { descriptor->load({atoms, elements, first, neighbour_elements, displacements}); });
}

EXPORTED int snap_components(Descriptor *descriptor, double *values) {
  return succeeds([&] { descriptor->components(values); });
}

EXPORTED int snap_forces(Descriptor *descriptor, const double *beta, double *values) {
  return succeeds([&] { descriptor->forces(beta, values); });
}

EXPORTED int snap_gradients(Descriptor *descriptor, double *values) {
  return succeeds([&] { descriptor->gradients(values); });
}
