// The file after `descriptor sna`.

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
};

// Called by all ranks, of which the first reads the file. What is wrong with it becomes a LAMMPS error.
DescriptorFile read_descriptor_file(LAMMPS_NS::LAMMPS *lmp, const std::string &name);

}    // namespace fitsnap_nn

#endif
