from django.urls import path

from billing import views

urlpatterns = [
    path("credits", views.CreditsView.as_view()),
    path("credits/entries", views.Entries.as_view()),
    path("statements", views.Statements.as_view()),
    path("statements/<id:id>", views.OneStatement.as_view()),
    path("usage", views.UsageView.as_view()),
]
