/// Compares one model of two runs, from their results.root: misidentification against signal efficiency on one page,
/// with the ratio of the two below, and the working points of both in a table.
///
///     root -l -b -q 'compare_runs.C("runs/a/results.root", "runs/b/results.root", "bdt", "compare.pdf")'
///
/// first, second  results.root of the two runs
/// model          the model's name in both; "first,second" where it is called differently
/// out            a PDF of one page
///
/// The two curves are from each run's own test sample, and their errors are drawn as independent. Whether a difference
/// on the same events is more than chance is what `pidlab compare` tells.
/// Returns the number of points of the ratio, -1 where a file or a model is missing, named on stderr.

#include <TCanvas.h>
#include <TFile.h>
#include <TGraphAsymmErrors.h>
#include <TH1.h>
#include <TKey.h>
#include <TLegend.h>
#include <TMultiGraph.h>
#include <TObjArray.h>
#include <TROOT.h>
#include <TString.h>

#include <algorithm>
#include <cstdio>
#include <memory>

namespace pidlab_compare_runs {

/// A copy of the ROC curve of a model where misidentification is positive; null, and a line on stderr, where there is none.
std::unique_ptr<TGraphAsymmErrors> curve(const char* path, const TString& model)
{
   std::unique_ptr<TFile> file(TFile::Open(path));
   if (!file || file->IsZombie()) {
      fprintf(stderr, "compare_runs: %s cannot be opened\n", path);
      return nullptr;
   }
   auto* roc = file->Get<TGraphAsymmErrors>(model + "/roc");
   if (!roc) {
      fprintf(stderr, "compare_runs: %s has no curve %s/roc\n", path, model.Data());
      return nullptr;
   }
   auto* directory = file->GetDirectory(model);
   for (TObject* key : *directory->GetListOfKeys()) {
      if (!TString(key->GetName()).BeginsWith("working_points_")) continue;
      auto* points = directory->Get<TGraphAsymmErrors>(key->GetName());
      for (int i = 0; i < points->GetN(); ++i)
         printf("%s %s %s: efficiency %.4f, misid %.5g -%.2g +%.2g\n", path, model.Data(), key->GetName(),
                points->GetPointX(i), points->GetPointY(i), points->GetErrorYlow(i), points->GetErrorYhigh(i));
   }
   auto positive = std::unique_ptr<TGraphAsymmErrors>(static_cast<TGraphAsymmErrors*>(roc->Clone()));
   for (int i = positive->GetN() - 1; i >= 0; --i)
      if (positive->GetPointY(i) <= 0) positive->RemovePoint(i); // a logarithmic axis has no place for them
   return positive;
}

/// Misidentification of the second over that of the first, at the efficiencies of the first where both are positive.
std::unique_ptr<TGraphAsymmErrors> quotient(const TGraphAsymmErrors& first, TGraphAsymmErrors& second)
{
   auto result = std::make_unique<TGraphAsymmErrors>();
   second.Sort();
   const double from = second.GetPointX(0), to = second.GetPointX(second.GetN() - 1);
   for (int i = 0; i < first.GetN(); ++i) {
      const double x = first.GetPointX(i), below = first.GetPointY(i);
      if (below <= 0 || x < from || x > to) continue;
      const double above = second.Eval(x);
      if (above > 0) result->AddPoint(x, above / below);
   }
   return result;
}

void look(TGraph& graph, int colour)
{
   graph.SetLineColor(colour);
   graph.SetMarkerColor(colour);
   graph.SetMarkerSize(0.3);
   graph.SetLineWidth(2);
}

} // namespace pidlab_compare_runs

int compare_runs(const char* first = "a/results.root", const char* second = "b/results.root", const char* model = "bdt",
                 const char* out = "compare_runs.pdf")
{
   using namespace pidlab_compare_runs;
   gROOT->SetBatch(true);
   std::unique_ptr<TObjArray> names(TString(model).Tokenize(","));
   names->SetOwner();
   if (names->GetEntries() == 0) {
      fprintf(stderr, "compare_runs: name a model\n");
      return -1;
   }
   const TString name_a = names->First()->GetName(), name_b = names->Last()->GetName();
   auto a = curve(first, name_a), b = curve(second, name_b);
   if (!a || !b) return -1;
   auto relative = quotient(*a, *b);
   look(*a, kBlack), look(*b, kRed + 1), look(*relative, kRed + 1);

   TCanvas canvas("compare_runs", "compare_runs", 800, 900);
   canvas.Divide(1, 2);
   canvas.cd(1)->SetLogy();
   TMultiGraph curves("curves", TString(";") + a->GetXaxis()->GetTitle() + ";" + a->GetYaxis()->GetTitle());
   auto* drawn_a = static_cast<TGraph*>(a->Clone());
   auto* drawn_b = static_cast<TGraph*>(b->Clone());
   curves.Add(drawn_a, "L"), curves.Add(drawn_b, "L");
   curves.Draw("A");
   TLegend legend(0.15, 0.72, 0.85, 0.88);
   legend.SetBorderSize(0);
   legend.AddEntry(drawn_a, TString(first) + ": " + name_a, "L");
   legend.AddEntry(drawn_b, TString(second) + ": " + name_b, "L");
   legend.Draw();
   canvas.cd(2);
   relative->SetTitle(TString(";") + a->GetXaxis()->GetTitle() + ";second / first");
   if (relative->GetN() > 0) relative->Draw("AL");
   canvas.Print(out);
   printf("compare_runs: ratio at %d efficiencies, drawn to %s\n", relative->GetN(), out);
   return relative->GetN();
}
