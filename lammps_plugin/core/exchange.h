// Exchange of atoms' features between ranks, from within a model's own code, at any number of ranks.

#ifndef FITSNAP_NN_EXCHANGE_H
#define FITSNAP_NN_EXCHANGE_H

#include "edge_exchange.h"
#include "neighbor_arrays.h"
#include "rows.h"

#include "pair.h"

#include <string>

namespace fitsnap_nn {

// What a rank does next in a step.
enum class Turn : int {
  finish,
  forward,    // owners' rows are copied to their ghosts
  reverse,    // ghosts' rows are added to their owners', then zeroed
  edges       // each pair i->j gets the row of the pair j->i
};

// Models exchange features as they please; the ranks agree before each what comes next. A rank whose model has
// returned (it may have no atoms) keeps on taking part until all have finished, and all learn of a failure at once.
class Exchange {
 public:
  // Doubles per atom in one message. LAMMPS sizes its buffers for it, wider features go in several messages.
  static constexpr int chunk = 64;

  // The pair style hands its pack and unpack functions on to this object.
  Exchange(LAMMPS_NS::LAMMPS *lmp, LAMMPS_NS::Pair *pair) : lmp_(lmp), pair_(pair), edges_(lmp) {}

  // What the rows of this step are.
  void begin_step(const NeighborArrays &neighbors, double cutoff);

  // Called by models, on any ranks; throws where another rank failed or asks for something else.
  void take_turn(Turn turn, const Rows &rows);

  // Called by all ranks, outside the models.
  void perform(Turn turn, const Rows &rows);

  // Serves the others until all have finished; raises a LAMMPS error on all ranks if any failed.
  void finish_step(const std::string &failure);

  int pack_forward(int count, const int *atoms, double *buffer) const;
  void unpack_forward(int count, int first, const double *buffer) const;
  int pack_reverse(int count, int first, double *buffer) const;
  void unpack_reverse(int count, const int *atoms, const double *buffer) const;

 private:
  struct Agreed {
    Turn turn;
    int width;
    bool consistent;    // all ranks that ask for an exchange ask for the same
  };

  Agreed agree(Turn turn, int width, bool failed);
  void match_edges();
  void zero_ghosts();
  template <class T> T *row(T *base, int atom) const;
  template <class T, class Next> void pack(T *base, int count, Next next, double *buffer) const;

  LAMMPS_NS::LAMMPS *lmp_;
  LAMMPS_NS::Pair *pair_;
  const NeighborArrays *neighbors_ = nullptr;
  double cutoff_ = 0.0;
  EdgeExchange edges_;
  bool edges_matched_ = false;    // for this step
  int failed_rank_ = -1;          // the lowest that failed in this step
  Rows rows_;                     // what is being exchanged
  int first_column_ = 0;          // of this message
  int columns_ = 0;
};

}    // namespace fitsnap_nn

#endif
