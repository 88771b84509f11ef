// Parser of the SNAP parameter file of `pair_style mliap ... descriptor sna FILE`.

#ifndef FITSNAP_NN_DESCRIPTOR_FILE_H
#define FITSNAP_NN_DESCRIPTOR_FILE_H

#include "../snap/options.h"

#include "lammps.h"

#include <string>
#include <vector>

namespace fitsnap_nn {

struct DescriptorFile {
  snap::Options options;
  std::vector<std::string> elements;
  std::string text;    // of the file
};

// Rank 0 reads the file and broadcasts it. An invalid file raises a LAMMPS error on all ranks. Collective.
DescriptorFile read_descriptor_file(LAMMPS_NS::LAMMPS *lmp, const std::string &name);

}    // namespace fitsnap_nn

#endif
