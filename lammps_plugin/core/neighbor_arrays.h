// Local atoms, ghost atoms and the pairs within the cutoff, as the arrays that are passed to a model.

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

// Extent of the neighbour lists that a model needs.
struct NeighborOptions {
  double cutoff;
  bool ghosts;    // also list the neighbours of ghosts,
  int layers;     // but only of those fewer than `layers` hops from a local atom; 0 = of all ghosts
};

// Rows are local atoms, then ghosts, in the order of LAMMPS. Atoms of types that pair_coeff maps to NULL and atoms that
// neigh_modify exclude removes from all interactions have no row, so a row is not a LAMMPS index: see atom_of, row_of.
class NeighborArrays {
 public:
  explicit NeighborArrays(LAMMPS_NS::LAMMPS *lmp) : lmp_(lmp) {}

  // `element_of[type]` is -1 for a type that is mapped to NULL. Atoms with a bit of `excluded` in their group mask are
  // skipped. Throws std::runtime_error if two atoms are at the same place.
  void build(const LAMMPS_NS::NeighList &list, const std::vector<int> &element_of, int excluded,
             const NeighborOptions &options);

  // The lists of LAMMPS as they are, with the pairs in its skin, for a model that measures the pairs itself: rows,
  // centre_pairs and pair_j are filled only if LAMMPS has built its lists, or a row has changed, since the last call,
  // which the result states; positions always are.
  bool follow(const LAMMPS_NS::NeighList &list, const std::vector<int> &element_of, int excluded);

  int local() const { return local_; }                               // local atoms
  int atoms() const { return static_cast<int>(atom_of_.size()); }    // local and ghost atoms
  int centres() const { return centres_; }                           // central atoms: those whose neighbours are listed
  int pairs() const { return pairs_; }
  const std::vector<int> &atom_of() const { return atom_of_; }    // LAMMPS index of each row
  const std::vector<int> &row_of() const { return row_of_; }      // row of each LAMMPS index, -1 for none
  double bytes() const;

  NumpyArray<int> elements;                                       // (atoms,)
  NumpyArray<LAMMPS_NS::tagint> tags;                             // (atoms,)
  NumpyArray<int> centre_atoms, centre_elements, centre_pairs;    // (centres,): row, element, number of pairs
  NumpyArray<int> pair_i, pair_j, pair_elements;                  // (pairs,): rows of i and j, element of j
  NumpyArray<double, 3> vectors;                                  // (pairs, 3): from i to j
  NumpyArray<double, 3> positions;                                // (atoms, 3), of follow() only

 private:
  bool assign_rows(const std::vector<int> &element_of, int excluded);
  void list_pairs(const LAMMPS_NS::NeighList &list);
  void add_centre(const LAMMPS_NS::NeighList &list, int atom, double cutoff_squared);
  void add_ghost_layers(const LAMMPS_NS::NeighList &list, const NeighborOptions &options);

  LAMMPS_NS::LAMMPS *lmp_;
  int local_ = 0, centres_ = 0, pairs_ = 0;
  LAMMPS_NS::bigint builds_ = -1, last_build_ = -1;    // of the lists that follow() has read
  std::vector<int> atom_of_, row_of_;
};

}    // namespace fitsnap_nn

#endif
