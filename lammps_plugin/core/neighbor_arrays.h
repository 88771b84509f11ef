// What a model sees of this rank: its atoms, those of other ranks nearby, and the pairs within the cutoff, as arrays.

#ifndef FITSNAP_NN_NEIGHBOR_ARRAYS_H
#define FITSNAP_NN_NEIGHBOR_ARRAYS_H

#include "numpy_array.h"

#include "lammps.h"
#include "lmptype.h"

#include <vector>

namespace LAMMPS_NS {
class NeighList;
}

namespace fitsnap_nn {

// Whose neighbours are wanted.
struct Reach {
  double cutoff;
  bool ghosts;    // those of ghosts too,
  int layers;     // but only of ghosts that fewer than this many steps from atom to neighbour lead to; 0: of all
};

// A model counts only the atoms that it is for: rows run over own atoms, then ghosts, in LAMMPS' order but without
// atoms of types that are mapped to NULL and without atoms that take part in no interaction at all.
class NeighborArrays {
 public:
  explicit NeighborArrays(LAMMPS_NS::LAMMPS *lmp) : lmp_(lmp) {}

  // `element_of[type]` is -1 for a type that is mapped to NULL; atoms with a bit of `absent` in their mask are left
  // out.
  void build(const LAMMPS_NS::NeighList &list, const std::vector<int> &element_of, int absent, const Reach &reach);

  int own() const { return own_; }                                   // atoms of this rank
  int atoms() const { return static_cast<int>(atom_of_.size()); }    // and ghosts
  int centres() const { return centres_; }                           // atoms whose neighbours are listed
  int pairs() const { return pairs_; }
  const std::vector<int> &atom_of() const { return atom_of_; }    // LAMMPS' index of each row
  const std::vector<int> &row_of() const { return row_of_; }      // the reverse, -1 where there is none
  double bytes() const;

  NumpyArray<int> elements;                                       // (atoms,)
  NumpyArray<LAMMPS_NS::tagint> tags;                             // (atoms,)
  NumpyArray<int> centre_atoms, centre_elements, centre_pairs;    // (centres,): row, element, number of pairs
  NumpyArray<int> pair_i, pair_j, pair_elements;                  // (pairs,): rows of i and j, element of j
  NumpyArray<double, 3> vectors;                                  // (pairs, 3): from i to j

 private:
  void number_atoms(const std::vector<int> &element_of, int absent);
  void add_centre(const LAMMPS_NS::NeighList &list, int atom, double cutoff_squared);
  void add_layers(const LAMMPS_NS::NeighList &list, const Reach &reach);

  LAMMPS_NS::LAMMPS *lmp_;
  int own_ = 0, centres_ = 0, pairs_ = 0;
  std::vector<int> atom_of_, row_of_;
};

}    // namespace fitsnap_nn

#endif
