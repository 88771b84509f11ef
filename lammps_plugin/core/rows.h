// A matrix of features in memory that is not ours.

#ifndef FITSNAP_NN_ROWS_H
#define FITSNAP_NN_ROWS_H

namespace fitsnap_nn {

struct Rows {
  void *base = nullptr;    // null on a rank that only takes part
  int width = 0;
  bool single = false;            // float32 instead of float64
  const int *row_of = nullptr;    // row of each LAMMPS atom, -1 where it has none; null: the atom's own index
};

template <class Work> void with_type(const Rows &rows, Work work) {
  if (rows.single)
    work(static_cast<float *>(rows.base));
  else
    work(static_cast<double *>(rows.base));
}

}    // namespace fitsnap_nn

#endif
