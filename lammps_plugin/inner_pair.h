// Interface between the two shared objects of the plugin. The bootstrap holds the pair style that is registered with
// LAMMPS and has no dependency on Python. The core holds the pair styles that call Python and is loaded on first use.

#ifndef FITSNAP_NN_INNER_PAIR_H
#define FITSNAP_NN_INNER_PAIR_H

#include "pair.h"

namespace fitsnap_nn {

// A pair style that another one, its owner, delegates to. LAMMPS only knows the owner.
class InnerPair : public LAMMPS_NS::Pair {
 public:
  explicit InnerPair(LAMMPS_NS::LAMMPS *lmp) : Pair(lmp) {}

  // As init_style(), but requests the neighbour list for the owner: pair hybrid gives a requestor that is not one of
  // its sub-styles an empty list.
  virtual void init_style_for(LAMMPS_NS::Pair *owner) = 0;
};

}    // namespace fitsnap_nn

#define FITSNAP_NN_EXPORT extern "C" __attribute__((visibility("default")))

// Exported by the core. Initialises the interpreter of `executable`, usually the python of a virtual environment. To be
// called only if no interpreter runs in this process. Throws std::runtime_error.
FITSNAP_NN_EXPORT void fitsnap_nn_start_python(const char *executable);

// Exported by the core. `arg` are the arguments of pair_style mliap: `unified ...`, or `model mliappy ...` and
// `descriptor ...` in either order. Collective. The caller owns the result.
FITSNAP_NN_EXPORT fitsnap_nn::InnerPair *fitsnap_nn_create_pair(LAMMPS_NS::LAMMPS *lmp, int narg, char **arg);

#endif
