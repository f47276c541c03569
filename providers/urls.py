from django.urls import path

from providers import views

urlpatterns = [
    path("credentials", views.Credentials.as_view()),
    path("credentials/<uuid:id>", views.OneCredential.as_view(), name="credential"),
    path("credentials/<uuid:id>/verify", views.Verify.as_view()),
    path("providers/<str:provider>/dictionaries/<str:name>", views.Dictionary.as_view()),
]
