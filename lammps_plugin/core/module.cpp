// Exports of the core: the pair styles, for the bootstrap, and an empty Python module, so that importing it
// tests whether the shared object loads.

#include "pair_mliappy.h"
#include "pair_unified.h"

#include "inner_pair.h"

#include <memory>
#include <string>

using namespace fitsnap_nn;

InnerPair *fitsnap_nn_create_pair(LAMMPS_NS::LAMMPS *lmp, int narg, char **arg) {
  std::unique_ptr<InnerPair> pair;
  if (std::string(arg[0]) == "unified")
    pair = std::make_unique<PairUnified>(lmp);
  else
    pair = std::make_unique<PairMliappy>(lmp);
  pair->settings(narg, arg);
  return pair.release();
}

PyMODINIT_FUNC PyInit__core() {
  static PyModuleDef definition = {
      PyModuleDef_HEAD_INIT, "_core", nullptr, 0, nullptr, nullptr, nullptr, nullptr, nullptr};
  return PyModule_Create(&definition);
}
