// What passes between the two shared objects of the plugin: the bootstrap holds the pair style that LAMMPS knows, the
// core holds those that compute with Python's help.

#ifndef FITSNAP_NN_INNER_PAIR_H
#define FITSNAP_NN_INNER_PAIR_H

#include "pair.h"

namespace fitsnap_nn {

// A pair style that works on behalf of another, its owner, which is the one that LAMMPS calls.
class InnerPair : public LAMMPS_NS::Pair {
 public:
  explicit InnerPair(LAMMPS_NS::LAMMPS *lmp) : Pair(lmp) {}

  // As init_style(), but asks for the neighbour list in the owner's name: pair hybrid skips lists of styles that it
  // does not know.
  virtual void init_style_for(LAMMPS_NS::Pair *owner) = 0;
};

}    // namespace fitsnap_nn

#define FITSNAP_NN_EXPORT extern "C" __attribute__((visibility("default")))

// Exported by the core. Starts Python as that of a program, normally the python of a virtual environment; called where
// none runs in this process. Throws std::runtime_error.
FITSNAP_NN_EXPORT void fitsnap_nn_start_python(const char *executable);

// Exported by the core. `words` are those after the style's name: `unified ...`, or `model mliappy ...` together with
// `descriptor ...` in either order. Called on all ranks; LAMMPS owns what is returned.
FITSNAP_NN_EXPORT fitsnap_nn::InnerPair *fitsnap_nn_create_pair(LAMMPS_NS::LAMMPS *lmp, int count, char **words);

#endif
