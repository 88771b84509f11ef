// Exchange of pairs' features: each pair i->j gets what the pair j->i has, on whatever rank that is.
//
// A pair belongs to the rank that owns its first atom. So pairs that cross a rank boundary, or a periodic one, exist
// once in each direction, and a model whose messages live on pairs needs no neighbors of ghosts. Exchanging twice gives
// back what was there: the exchange is its own transpose, and the same function serves gradients.

#ifndef FITSNAP_NN_EDGE_EXCHANGE_H
#define FITSNAP_NN_EDGE_EXCHANGE_H

#include "neighbor_arrays.h"
#include "rows.h"

#include <vector>

namespace fitsnap_nn {

class EdgeExchange {
 public:
  // Numbers of a pair in one message.
  static constexpr int chunk = 16;

  // Where an atom is owned.
  struct Home {
    double rank, row;
  };

  explicit EdgeExchange(LAMMPS_NS::LAMMPS *lmp) : lmp_(lmp) {}

  // Finds the reverse of each pair; called by all ranks. `homes` is that of each row of `neighbors`.
  void match(const NeighborArrays &neighbors, const std::vector<Home> &homes, double cutoff);

  // Called by all ranks after match(); pairs without a reverse get zeros (they are as long as the cutoff, to all
  // digits).
  void reverse(const Rows &pairs) const;

 private:
  void send(const double *leaving, double *arriving, int width) const;

  LAMMPS_NS::LAMMPS *lmp_;
  std::vector<int> outgoing_;           // pairs, ordered by the rank that owns their second atom
  std::vector<int> sent_, received_;    // how many go to each rank and come from it
  std::vector<int> incoming_;           // the pairs that get what comes, -1 for none
};

}    // namespace fitsnap_nn

#endif
