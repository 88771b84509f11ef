// Exchange of pair features: each pair i->j receives the features of the reverse pair j->i, on whatever rank it is.
//
// A pair belongs to the rank that owns its first atom. A pair across a rank boundary or a periodic boundary therefore
// exists once per direction, and a model whose messages live on pairs needs no neighbours of ghost atoms. The exchange
// is a symmetric permutation, its own transpose, so the same function also exchanges gradients.

#ifndef FITSNAP_NN_EDGE_EXCHANGE_H
#define FITSNAP_NN_EDGE_EXCHANGE_H

#include "feature_matrix.h"
#include "neighbor_arrays.h"

#include <vector>

namespace fitsnap_nn {

class EdgeExchange {
 public:
  // Columns per message. Bounds the send and receive buffers; wider features are sent in several messages.
  static constexpr int chunk = 16;

  // Rank that owns an atom, and its row there. Doubles, because LAMMPS' forward communication carries doubles.
  struct OwnerSlot {
    double rank, row;
  };

  explicit EdgeExchange(LAMMPS_NS::LAMMPS *lmp) : lmp_(lmp) {}

  // Finds the reverse of each pair. Collective. `owners` holds the owner of each row of `neighbors`.
  void match_reverse_edges(const NeighborArrays &neighbors, const std::vector<OwnerSlot> &owners, double cutoff);

  // Replaces the features of each pair by those of its reverse. Collective, after match_reverse_edges(). A pair without
  // a reverse gets zeros: its length equals the cutoff to rounding, so that one direction is inside and one outside.
  void gather_reverse_edges(const FeatureMatrix &pairs) const;

 private:
  void all_to_all(const double *send_buffer, double *receive_buffer, int width) const;

  LAMMPS_NS::LAMMPS *lmp_;
  std::vector<int> send_pairs_;                      // pairs, sorted by the rank that owns their second atom
  std::vector<int> send_counts_, receive_counts_;    // pairs per rank
  std::vector<int> receive_pairs_;                   // the pair that receives each arriving row, -1 for none
};

}    // namespace fitsnap_nn

#endif
